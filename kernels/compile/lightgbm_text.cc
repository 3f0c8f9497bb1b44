#include "kernels/compile/lightgbm_text.h"

#include <algorithm>
#include <charconv>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "kernels/compile/document.h"

namespace millrace {
namespace {

constexpr std::string_view kHeaderKeys[] = {
    "average_output",  "feature_infos",        "feature_names", "label_index",
    "max_feature_idx", "monotone_constraints", "num_class",     "num_tree_per_iteration",
    "objective",       "tree_sizes",           "version"};

constexpr std::string_view kTreeKeys[] = {
    "cat_boundaries", "cat_threshold",   "decision_type", "has_categorical", "internal_count",
    "internal_value", "internal_weight", "is_linear",     "leaf_coeff",      "leaf_const",
    "leaf_count",     "leaf_features",   "leaf_parent",   "leaf_value",      "leaf_weight",
    "left_child",     "num_cat",         "num_features",  "num_leaves",      "right_child",
    "shrinkage",      "split_feature",   "split_gain",    "threshold"};

std::string Show(std::string_view text) {
  return absl::CHexEscape(std::string(text.substr(0, 40)));
}

// The next line without its end; moves *rest behind it.
std::string_view TakeLine(std::string_view* rest) {
  const size_t end = rest->find('\n');
  std::string_view line = rest->substr(0, end);
  rest->remove_prefix(end == rest->npos ? rest->size() : end + 1);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

template <size_t kCount>
absl::Status AddField(std::string_view line, const std::string_view (&known)[kCount],
                      LightgbmBlock* block) {
  const size_t equals = line.find('=');
  const std::string_view key = line.substr(0, equals);
  if (std::find(std::begin(known), std::end(known), key) == std::end(known)) {
    return Fault(block->path, ": the field \"", Show(key), "\" is not supported");
  }
  const std::string_view value = equals == line.npos ? "" : line.substr(equals + 1);
  if (!block->fields.emplace(key, value).second) {
    return Fault(block->Path(key), ": stands twice");
  }
  return absl::OkStatus();
}

template <typename T>
bool ParseNumber(std::string_view text, T* out) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, *out);
  return error == std::errc() && stop == end;
}

template <typename T>
absl::StatusOr<std::vector<T>> FieldNumbers(const LightgbmBlock& block, std::string_view key,
                                            uint64_t count) {
  const absl::StatusOr<std::string_view> text = FieldText(block, key);
  if (!text.ok()) return text.status();
  const std::vector<std::string_view> words = SplitWords(*text);
  if (words.size() != count) {
    return Fault(block.Path(key), ": has ", words.size(), " entries, must have ", count);
  }
  std::vector<T> out(words.size());
  for (size_t i = 0; i < words.size(); ++i) {
    if (!ParseNumber(words[i], &out[i])) {
      return Fault(block.Path(key), "[", i, "]: \"", Show(words[i]), "\" is not a number in range");
    }
  }
  return out;
}

}  // namespace

absl::StatusOr<LightgbmFile> SplitLightgbmFile(std::string_view text) {
  LightgbmFile file;
  file.header.path = "header";
  if (TakeLine(&text) != "tree") return Fault("header: the first line must be \"tree\"");
  LightgbmBlock* block = &file.header;
  while (!text.empty()) {
    const std::string_view line = TakeLine(&text);
    if (line == "end of trees") return file;
    if (line.empty()) continue;
    if (line.substr(0, 5) == "Tree=") {
      block = &file.trees.emplace_back();
      block->path = absl::StrCat("Tree=", file.trees.size() - 1);
      if (line != std::string_view(block->path)) {
        return Fault(block->path, ": the file says \"", Show(line), "\", trees must be in order");
      }
      continue;
    }
    const absl::Status status = block == &file.header ? AddField(line, kHeaderKeys, block)
                                                      : AddField(line, kTreeKeys, block);
    if (!status.ok()) return status;
  }
  return Fault("the model file is cut off: it has no line \"end of trees\"");
}

absl::StatusOr<std::string_view> FieldText(const LightgbmBlock& block, std::string_view key) {
  const auto it = block.fields.find(key);
  if (it == block.fields.end()) return Fault(block.Path(key), ": is missing");
  return it->second;
}

absl::StatusOr<int64_t> FieldInteger(const LightgbmBlock& block, std::string_view key, int64_t low,
                                     int64_t high) {
  const absl::StatusOr<std::string_view> text = FieldText(block, key);
  if (!text.ok()) return text.status();
  int64_t value = 0;
  if (!ParseNumber(*text, &value)) {
    return Fault(block.Path(key), ": must be an integer, is \"", Show(*text), "\"");
  }
  if (value < low || value > high) {
    return Fault(block.Path(key), ": ", value, " is not in ", low, " to ", high);
  }
  return value;
}

absl::StatusOr<std::vector<int64_t>> FieldIntegers(const LightgbmBlock& block, std::string_view key,
                                                   uint64_t count) {
  return FieldNumbers<int64_t>(block, key, count);
}

absl::StatusOr<std::vector<double>> FieldDoubles(const LightgbmBlock& block, std::string_view key,
                                                 uint64_t count) {
  return FieldNumbers<double>(block, key, count);
}

std::vector<std::string_view> SplitWords(std::string_view text) {
  std::vector<std::string_view> words;
  for (size_t start = text.find_first_not_of(' '); start != text.npos;) {
    const size_t end = std::min(text.find(' ', start), text.size());
    words.push_back(text.substr(start, end - start));
    start = text.find_first_not_of(' ', end);
  }
  return words;
}

}  // namespace millrace
