// LightGBM's text: a header of fields, then one block a tree, iteration by iteration.
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "kernels/compile/lightgbm_text.h"
#include "kernels/compile/lightgbm_tree.h"
#include "kernels/compile/parsers.h"
#include "kernels/plan/writer.h"

namespace millrace {
namespace {

// What an objective's name decides. Aliases are the names that older versions wrote.
struct Row {
  std::string_view name;
  MarginTransform transform;
  bool takes_sqrt;  // "sqrt" behind the name: predictions are squared
};

constexpr Row kObjectives[] = {
    {"regression", MarginTransform::kIdentity, true},
    {"regression_l2", MarginTransform::kIdentity, true},
    {"regression_l1", MarginTransform::kIdentity, true},
    {"quantile", MarginTransform::kIdentity, true},
    {"mape", MarginTransform::kIdentity, true},
    {"fair", MarginTransform::kIdentity, true},
    {"huber", MarginTransform::kIdentity, false},
    {"poisson", MarginTransform::kExp, false},
    {"gamma", MarginTransform::kExp, false},
    {"tweedie", MarginTransform::kExp, false},
    {"binary", MarginTransform::kSigmoid, false},
    {"multiclass", MarginTransform::kSoftmax, false},
    {"multiclassova", MarginTransform::kSigmoid, false},
    {"cross_entropy", MarginTransform::kSigmoid, false},
    {"xentropy", MarginTransform::kSigmoid, false},
    {"cross_entropy_lambda", MarginTransform::kLog1pExp, false},
    {"xentlambda", MarginTransform::kLog1pExp, false},
    {"lambdarank", MarginTransform::kIdentity, false},
    {"rank_xendcg", MarginTransform::kIdentity, false},
    {"custom", MarginTransform::kIdentity, false},
};

bool IsMulticlass(std::string_view name) { return name == "multiclass" || name == "multiclassova"; }

// The value behind "key:" among the words of an objective; empty where there is none.
std::string_view Option(const std::vector<std::string_view>& words, std::string_view key) {
  for (const std::string_view word : words) {
    if (word.size() > key.size() && word.substr(0, key.size()) == key && word[key.size()] == ':') {
      return word.substr(key.size() + 1);
    }
  }
  return "";
}

absl::Status ApplyOptions(const Row& row, const std::vector<std::string_view>& words,
                          PlanTraits* traits) {
  const bool needs_sigmoid = row.name == "binary" || row.name == "multiclassova";
  if (needs_sigmoid) {
    // The library's number parser and the nearest double agree on the decimals it writes.
    const std::string text(Option(words, "sigmoid"));
    if (!absl::SimpleAtod(text, &traits->transform_parameter) ||
        !(traits->transform_parameter > 0 && traits->transform_parameter < 1e300)) {
      return Fault("header.objective: \"sigmoid:\" must be above 0");
    }
  }
  if (IsMulticlass(row.name)) {
    int64_t classes = 0;
    if (!ParseInteger(Option(words, "num_class"), &classes) ||
        classes != static_cast<int64_t>(traits->bases.size())) {
      return Fault("header.objective: \"num_class:\" must be num_tree_per_iteration, ",
                   traits->bases.size());
    }
  } else if (traits->bases.size() != 1 && row.name != "custom") {
    return Fault("header.num_tree_per_iteration: must be 1 for this objective");
  }
  for (size_t i = 1; i < words.size(); ++i) {
    if (words[i] == "sqrt" && row.takes_sqrt) {
      traits->transform = MarginTransform::kSignedSquare;
    } else if (words[i].find(':') == std::string_view::npos) {
      return Fault("header.objective: the option \"", absl::CHexEscape(std::string(words[i])),
                   "\" is not supported");
    }
  }
  return absl::OkStatus();
}

// No objective (one of the user's own): the margins are the predictions.
absl::Status ReadObjective(const LightgbmBlock& header, PlanTraits* traits) {
  if (!header.Has("objective")) return absl::OkStatus();
  const std::string_view text = header.fields.at("objective");
  const std::vector<std::string_view> words = SplitWords(text);
  if (words.empty()) return Fault("header.objective: is empty");
  for (const Row& row : kObjectives) {
    if (row.name != words[0]) continue;
    traits->transform = row.transform;
    traits->objective = std::string(text);
    return ApplyOptions(row, words, traits);
  }
  return absl::UnimplementedError(absl::StrCat(
      "header.objective: \"", absl::CHexEscape(std::string(words[0])), "\" is not supported"));
}

absl::Status ReadHeader(const LightgbmBlock& header, PlanTraits* traits) {
  const absl::StatusOr<std::string_view> version = FieldText(header, "version");
  if (!version.ok()) return version.status();
  if (*version != "v2" && *version != "v3" && *version != "v4") {
    return absl::UnimplementedError(absl::StrCat("header.version: \"",
                                                 absl::CHexEscape(std::string(*version)),
                                                 "\" is not supported, v2 to v4 are"));
  }
  const auto classes = FieldInteger(header, "num_class", 1, kMaxGroups);
  if (!classes.ok()) return classes.status();
  int64_t groups = *classes;
  if (header.Has("num_tree_per_iteration")) {
    const auto read = FieldInteger(header, "num_tree_per_iteration", 1, kMaxGroups);
    if (!read.ok()) return read.status();
    groups = *read;
  }
  const auto last_feature = FieldInteger(header, "max_feature_idx", 0, kMaxFeatures - 1);
  if (!last_feature.ok()) return last_feature.status();
  traits->features = static_cast<uint32_t>(*last_feature + 1);
  traits->bases.assign(groups, 0.0);
  const absl::StatusOr<std::string_view> names = FieldText(header, "feature_names");
  if (!names.ok()) return names.status();
  for (const std::string_view name : SplitWords(*names)) traits->feature_names.emplace_back(name);
  if (traits->feature_names.size() != traits->features) {
    return Fault("header.feature_names: has ", traits->feature_names.size(), " entries, must have ",
                 traits->features);
  }
  return ReadObjective(header, traits);
}

absl::Status CheckTreeCount(const LightgbmFile& file, uint64_t groups) {
  const uint64_t count = file.trees.size();
  if (file.header.Has("tree_sizes")) {
    const auto sizes = FieldIntegers(file.header, "tree_sizes", count);
    if (!sizes.ok()) return sizes.status();
  }
  if (count % groups != 0) {
    return Fault("the file has ", count, " trees, not a multiple of num_tree_per_iteration, ",
                 groups);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CompiledModel> CompileLightgbm(std::string_view text) {
  const absl::StatusOr<LightgbmFile> file = SplitLightgbmFile(text);
  if (!file.ok()) return file.status();
  PlanTraits traits;
  traits.family = TreeFamily::kLightgbm;
  MR_RETURN_IF_ERROR(ReadHeader(file->header, &traits));
  const auto groups = static_cast<uint32_t>(traits.bases.size());
  MR_RETURN_IF_ERROR(CheckTreeCount(*file, groups));
  if (file->header.Has("average_output")) {
    traits.average_divisor = static_cast<uint32_t>(file->trees.size() / groups);
  }
  PlanWriter writer;
  for (size_t i = 0; i < file->trees.size(); ++i) {
    MR_RETURN_IF_ERROR(AddLightgbmTree(file->trees[i], traits.features,
                                       static_cast<uint32_t>(i % groups), &writer));
  }
  absl::StatusOr<std::vector<std::byte>> plan = writer.Finish(traits);
  if (!plan.ok()) return plan.status();
  return CompiledModel{*std::move(plan), ModelFormat::kLightgbmText,
                       "lightgbm " + std::string(file->header.fields.at("version"))};
}

}  // namespace millrace
