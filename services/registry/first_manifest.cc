#include "services/registry/first_manifest.h"

#include <math.h>
#include <string.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/datatype.h"
#include "services/registry/text.h"
#include "services/registry/version_check.h"

namespace millrace {
namespace {

constexpr size_t kBins = 64, kMaxValues = 255;

// The shortest that reads back to the same bits; null for what is no number.
template <typename T>
std::string Shortest(T value) {
  if (!isfinite(value)) return "null";
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

// In single quotes, as YAML has it.
std::string Quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("''") : std::string(1, c);
  return quoted + "'";
}

template <typename T>
T ElementAt(const std::string& data, size_t i) {
  T value;
  memcpy(&value, data.data() + i * sizeof value, sizeof value);
  return value;
}

std::string Elements(const GoldenTensor& tensor) {
  std::vector<std::string> texts;
  const std::string& data = tensor.data();
  switch (static_cast<DataType>(tensor.datatype())) {
    case DataType::kFp32:
      for (size_t i = 0; i < data.size() / 4; ++i)
        texts.push_back(Shortest(ElementAt<float>(data, i)));
      break;
    case DataType::kFp64:
      for (size_t i = 0; i < data.size() / 8; ++i)
        texts.push_back(Shortest(ElementAt<double>(data, i)));
      break;
    case DataType::kInt64:
      for (size_t i = 0; i < data.size() / 8; ++i)
        texts.push_back(absl::StrCat(ElementAt<int64_t>(data, i)));
      break;
    default:  // one text
      texts.push_back(Quoted(data.substr(std::min<size_t>(4, data.size()))));
  }
  return absl::StrJoin(texts, ", ");
}

std::string TensorLine(const GoldenTensor& tensor) {
  const std::string type(DataTypeName(static_cast<DataType>(tensor.datatype())));
  return absl::StrCat("{name: ", Quoted(tensor.name()), ", datatype: ", type, ", shape: [1, ",
                      tensor.shape(1), "], data: [", Elements(tensor), "]}");
}

struct Bins {
  std::vector<double> edges;
  std::vector<double> shares;
  double low = 0, high = 0, missing = 0;
};

// Bins of equal shares; values that repeat make fewer.
Bins BinsOf(const SampleColumn& column) {
  Bins bins;
  std::vector<double> values;
  for (const std::optional<double>& number : column.numbers) {
    if (number.has_value()) values.push_back(*number);
  }
  bins.missing = 1 - static_cast<double>(values.size()) / column.numbers.size();
  bins.shares = {1};
  if (values.empty()) return bins;
  std::sort(values.begin(), values.end());
  bins.low = values.front();
  bins.high = values.back();
  for (size_t b = 1; b < kBins; ++b) {
    const double edge = values[b * values.size() / kBins];
    if (edge > bins.low && (bins.edges.empty() || edge > bins.edges.back())) {
      bins.edges.push_back(edge);
    }
  }
  bins.shares.assign(bins.edges.size() + 1, 0);
  for (const double value : values) {
    const auto bin = std::upper_bound(bins.edges.begin(), bins.edges.end(), value);
    bins.shares[bin - bins.edges.begin()] += 1.0 / values.size();
  }
  return bins;
}

std::string Joined(const std::vector<double>& numbers, bool rounded) {
  return absl::StrJoin(numbers, ", ", [rounded](std::string* out, double number) {
    rounded ? absl::StrAppend(out, absl::StrFormat("%.6g", number))
            : absl::StrAppend(out, Shortest(number));
  });
}

std::string NumberBins(const std::string& field, const SampleColumn& column) {
  const Bins bins = BinsOf(column);
  return absl::StrCat("  - {field: ", Quoted(field), ", edges: [", Joined(bins.edges, false),
                      "], shares: [", Joined(bins.shares, true),
                      "], missing: ", absl::StrFormat("%.6g", bins.missing), "}\n");
}

// The texts that occur most; the rest together is the last bin.
std::string TextBins(const std::string& field, const SampleColumn& column) {
  std::map<std::string, double> counts;
  for (const std::string& cell : column.cells) counts[cell] += 1.0 / column.cells.size();
  const double missing = counts.count("") > 0 ? counts[""] : 0;
  counts.erase("");
  for (auto each = counts.begin(); each != counts.end();) {
    each = IsTensorName(each->first) ? std::next(each) : counts.erase(each);  // else: of the rest
  }
  std::vector<std::pair<double, std::string>> most;
  for (const auto& [text, share] : counts) most.emplace_back(-share, text);
  std::sort(most.begin(), most.end());
  if (most.size() > kMaxValues) most.resize(kMaxValues);
  std::vector<std::string> values;
  std::vector<double> shares;
  double left = 1 - missing;
  const double all = left > 0 ? left : 1;
  for (const auto& [share, text] : most) {
    values.push_back(Quoted(text));
    shares.push_back(-share / all);
    left += share;
  }
  shares.push_back(missing == 1 ? 1 : std::max(0.0, left / all));
  return absl::StrCat("  - {field: ", Quoted(field), ", values: [", absl::StrJoin(values, ", "),
                      "], shares: [", Joined(shares, true),
                      "], missing: ", absl::StrFormat("%.6g", missing), "}\n");
}

class Writer {
 public:
  explicit Writer(const FirstManifest& first) : first_(first), model_(*first.model) {}

  absl::StatusOr<std::string> Write() {
    if (first_.sample != nullptr) {
      const absl::StatusOr<bool> raw = SampleIsRaw(model_, *first_.sample);
      if (!raw.ok()) return raw.status();
      raw_ = *raw;
    }
    Head();
    Signature();
    Files("files", first_.files);
    if (!first_.shared.empty()) Files("shared", first_.shared);
    GoldenVectors();
    ForPeople();
    if (!first_.view_sha256.empty()) {
      absl::StrAppend(&text_, "view: {name: ", Quoted(model_.view().name()),
                      ", sha256: ", first_.view_sha256, "}\n");
    }
    Reference();
    return text_ + "...\n";
  }

 private:
  void Head() {
    absl::StrAppend(&text_,
                    "# What this version is (services/registry/README.md). Made by `millrace ",
                    "model init`: fill in what stands after '#!'.\n",
                    "manifest: 1\nmodel: ", Quoted(model_.name()), "\nversion: ", model_.version(),
                    "\nowner: nobody yet  #! who answers for it\ntrained_at: ", first_.trained_at,
                    "  #! the file's time; say when it was trained\n");
  }

  void Signature() {
    text_ += "signature:\n  inputs:\n";
    for (const TensorSpec& input : model_.inputs()) {
      Tensor(input, "", RangesOf(input));
    }
    text_ += "  outputs:\n";
    for (const OutputSpec& output : model_.outputs()) {
      std::string kind = "prediction";
      if (output.kind() == MARGIN) kind = "margin";
      if (output.kind() == CLASS) kind = "class";
      if (output.kind() == LABEL) kind = "label";
      if (output.kind() == TOP_K) kind = "top_k";
      if (output.kind() == SCORES) kind = "scores";
      Tensor(output.tensor(), ", kind: " + kind, "");
    }
  }

  void Tensor(const TensorSpec& tensor, const std::string& kind, const std::string& ranges) {
    const std::string type(DataTypeName(static_cast<DataType>(tensor.datatype())));
    absl::StrAppend(&text_, "    - {name: ", Quoted(tensor.name()), ", datatype: ", type,
                    ", shape: [-1, ", tensor.dims(0), "]", kind, ranges, "}\n");
  }

  // Of the sample's columns, as far as they are the tensor's.
  std::string RangesOf(const TensorSpec& input) const {
    if (first_.sample == nullptr || raw_) return "";
    std::vector<std::string> ranges;
    for (const SampleColumn& column : first_.sample->columns) {
      const Bins bins = BinsOf(column);
      const bool empty = bins.missing == 1;
      ranges.push_back(empty
                           ? "[null, null]"
                           : absl::StrCat("[", Shortest(bins.low), ", ", Shortest(bins.high), "]"));
    }
    return static_cast<int64_t>(ranges.size()) == input.dims(0)
               ? absl::StrCat(", ranges: [", absl::StrJoin(ranges, ", "), "]")
               : "";
  }

  void Files(const char* list, const std::vector<ManifestFile>& files) {
    absl::StrAppend(&text_, list, files.empty() ? ": []\n" : ":\n");
    for (const ManifestFile& file : files) {
      absl::StrAppend(&text_, "  - {name: ", Quoted(file.name), ", sha256: ", file.sha256,
                      ", bytes: ", file.bytes, "}\n");
    }
  }

  void GoldenVectors() {
    if (first_.golden.empty()) return;
    text_ += "golden:  #! what the model answers now; compare it with the trainer's own answers\n";
    for (const Golden& golden : first_.golden) {
      std::vector<std::string> inputs, outputs;
      for (const GoldenTensor& tensor : golden.inputs()) inputs.push_back(TensorLine(tensor));
      for (const GoldenTensor& tensor : golden.outputs()) outputs.push_back(TensorLine(tensor));
      absl::StrAppend(&text_, "  - inputs: [", absl::StrJoin(inputs, ", "), "]\n    outputs: [",
                      absl::StrJoin(outputs, ", "), "]\n    tolerance: 0\n");
    }
  }

  void ForPeople() {
    text_ +=
        "#! lineage: {data: sha256:HEX, code: git:HEX, parent: VERSION}\n"
        "#! policy: ID of the compliance policy\n"
        "#! data_protection:\n";
    for (const std::string& field : FieldsOf(model_)) {
      const bool tensor = field.find('[') != std::string::npos;
      if (tensor && model_.has_view()) continue;
      absl::StrAppend(&text_, "#!   - {field: ", Quoted(field),
                      ", purpose: WHAT FOR, legal_basis: contract, retention_days: 365}\n");
    }
  }

  void Reference() {
    if (first_.sample == nullptr) return;
    text_ += "reference:\n";
    for (size_t c = 0; c < first_.sample->columns.size(); ++c) {
      const SampleColumn& column = first_.sample->columns[c];
      const std::string field =
          raw_ ? column.name : absl::StrCat(model_.inputs(0).name(), "[", c, "]");
      text_ += column.numbers.empty() ? TextBins(field, column) : NumberBins(field, column);
    }
  }

  const FirstManifest& first_;
  const Model& model_;
  bool raw_ = false;
  std::string text_;
};

}  // namespace

absl::StatusOr<bool> SampleIsRaw(const Model& model, const SampleTable& sample) {
  std::set<std::string> raw;
  for (const Feature& feature : model.view().features()) raw.insert(feature.column());
  std::set<std::string> named;
  for (const SampleColumn& column : sample.columns) named.insert(column.name);
  if (!raw.empty() && named.size() == sample.columns.size() &&
      std::includes(raw.begin(), raw.end(), named.begin(), named.end())) {
    return true;
  }
  if (static_cast<int64_t>(sample.columns.size()) != model.inputs(0).dims(0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("has ", sample.columns.size(), " columns, and the model's tensor has ",
                     model.inputs(0).dims(0), raw.empty() ? "" : "; its raw columns are others"));
  }
  for (const SampleColumn& column : sample.columns) {
    if (!column.numbers.empty()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("column ", Printable(column.name), " holds what is no number"));
  }
  return false;
}

absl::StatusOr<std::string> WriteFirstManifest(const FirstManifest& first) {
  return Writer(first).Write();
}

}  // namespace millrace
