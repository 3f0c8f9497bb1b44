#include "services/registry/compile_report.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "services/registry/text.h"

namespace millrace {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxFeatures = 1 << 20;
constexpr uint64_t kMaxColumns = 1 << 20;
constexpr uint64_t kMaxCount = uint64_t{1} << 40;
constexpr size_t kMaxText = 200;

// Takes fields out of the report and remembers the first that is wrong.
class Fields {
 public:
  explicit Fields(const Json& json) : json_(json) {}

  uint64_t Number(const char* name, uint64_t min, uint64_t max) {
    const auto found = json_.find(name);
    if (found == json_.end() || !found->is_number_unsigned()) return Wrong(name);
    const uint64_t value = found->get<uint64_t>();
    return value < min || value > max ? Wrong(name) : value;
  }

  std::string Text(const char* name) {
    const auto found = json_.find(name);
    if (found != json_.end() && found->is_string()) {
      const std::string& text = found->get_ref<const std::string&>();
      if (text.size() <= kMaxText) return Printable(text);
    }
    Wrong(name);
    return "";
  }

  DataType Type(const char* name) {
    const std::string text = Text(name);
    if (text == "FP32") return DataType::kFp32;
    if (text == "FP64") return DataType::kFp64;
    Wrong(name);
    return DataType::kInvalid;
  }

  // `count` numbers, or none.
  std::vector<double> Numbers(const char* name, size_t count) {
    std::vector<double> numbers;
    const auto found = json_.find(name);
    if (found == json_.end()) return numbers;
    for (const Json& number : *found) {
      if (!number.is_number() || numbers.size() == count) Wrong(name);
      numbers.push_back(number.is_number() ? number.get<double>() : 0);
    }
    if (!found->is_array() || (!numbers.empty() && numbers.size() != count)) Wrong(name);
    return numbers;
  }

  absl::Status status() const {
    if (wrong_.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("the compiler's report is malformed: field ", wrong_));
  }

 private:
  uint64_t Wrong(const char* name) {
    if (wrong_.empty()) wrong_ = name;
    return 0;
  }

  const Json& json_;
  std::string wrong_;
};

}  // namespace

absl::StatusOr<CompileReport> ParseCompileReport(std::string_view line) {
  const Json json = Json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return absl::InvalidArgumentError("the compiler's report is malformed: no JSON object");
  }
  Fields fields(json);
  const auto ok = json.find("ok");
  if (ok == json.end() || !ok->is_boolean()) {
    return absl::InvalidArgumentError("the compiler's report is malformed: field ok");
  }
  if (!ok->get<bool>()) {
    const auto error = json.find("error");
    if (error == json.end() || !error->is_string()) {
      return absl::InvalidArgumentError("the compiler's report is malformed: field error");
    }
    return absl::InvalidArgumentError(Printable(error->get_ref<const std::string&>()));
  }
  CompileReport report;
  report.format = fields.Text("format");
  report.objective = fields.Text("objective");
  report.features = fields.Number("features", 1, kMaxFeatures);
  report.groups = fields.Number("groups", 1, kMaxColumns);
  report.prediction_columns = fields.Number("prediction_columns", 1, kMaxColumns);
  report.margin_type = fields.Type("margin_dtype");
  report.prediction_type = fields.Type("prediction_dtype");
  report.trees = fields.Number("trees", 0, kMaxCount);
  report.nodes = fields.Number("nodes", 0, kMaxCount);
  report.plan_bytes = fields.Number("plan_bytes", 1, kMaxCount);
  if (json.contains("private_bytes")) {
    report.private_bytes = fields.Number("private_bytes", 0, kMaxCount);
  }
  report.golden_margins = fields.Numbers("golden_margins", report.groups);
  report.golden_predictions = fields.Numbers("golden_predictions", report.prediction_columns);
  if (absl::Status s = fields.status(); !s.ok()) return s;
  return report;
}

}  // namespace millrace
