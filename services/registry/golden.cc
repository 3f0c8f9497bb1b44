#include "services/registry/golden.h"

#include <math.h>
#include <string.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/golden_row.h"
#include "common/near.h"
#include "services/registry/text.h"

namespace millrace {
namespace {

using Json = nlohmann::json;

template <typename T>
void Append(T value, std::string* data) {
  data->append(reinterpret_cast<const char*>(&value), sizeof value);
}

void AppendText(const std::string& text, std::string* data) {
  Append(static_cast<uint32_t>(text.size()), data);
  data->append(text);
}

void AppendFloat(double value, DataType type, std::string* data) {
  if (type == DataType::kFp64) return Append(value, data);
  Append(static_cast<float>(value), data);
}

GoldenTensor* Start(const std::string& name, DataType type, std::vector<int64_t> shape,
                    GoldenTensor* tensor) {
  tensor->set_name(name);
  tensor->set_datatype(static_cast<uint32_t>(type));
  for (int64_t d : shape) tensor->add_shape(d);
  return tensor;
}

size_t ClassOf(const std::vector<double>& prediction) {
  if (prediction.size() == 1) return prediction[0] >= 0.5 ? 1 : 0;
  return std::max_element(prediction.begin(), prediction.end()) - prediction.begin();
}

// Of one output for the golden row; nothing where it does not follow from the numbers.
void AddExpected(const ModelFacts& facts, const OutputSpec& output, Golden* golden) {
  const auto type = static_cast<DataType>(output.tensor().datatype());
  const std::vector<double>& numbers =
      output.kind() == MARGIN ? facts.golden_margins : facts.golden_predictions;
  if (output.kind() == TOP_K || numbers.empty()) return;
  const bool is_class = output.kind() == CLASS || output.kind() == LABEL;
  const auto columns = is_class ? 1 : output.tensor().dims(0);
  const bool both = !is_class && columns != static_cast<int64_t>(numbers.size());  // 1 - p and p
  GoldenTensor* tensor = Start(output.tensor().name(), type, {1, columns}, golden->add_outputs());
  if (output.kind() == CLASS) {
    const bool is_cut = output.has_above() && numbers.size() == 1;
    const size_t at = is_cut ? static_cast<float>(numbers[0]) > output.above() : ClassOf(numbers);
    if (type == DataType::kFp32) return Append(static_cast<float>(at), tensor->mutable_data());
    Append(static_cast<int64_t>(at), tensor->mutable_data());
  } else if (output.kind() == LABEL) {
    AppendText(output.labels(static_cast<int>(ClassOf(numbers))), tensor->mutable_data());
  } else {
    if (both) AppendFloat(1.0 - numbers[0], type, tensor->mutable_data());
    for (double number : numbers) AppendFloat(number, type, tensor->mutable_data());
  }
}

void AddTensorRequest(const ModelFacts& facts, Model* model) {
  Golden* golden = model->add_golden();
  const TensorSpec& input = model->inputs(0);
  const auto type = static_cast<DataType>(input.datatype());
  GoldenTensor* tensor = Start(input.name(), type, {1, input.dims(0)}, golden->add_inputs());
  for (int64_t c = 0; c < input.dims(0); ++c) {
    AppendFloat(GoldenRowValue(static_cast<size_t>(c)), type, tensor->mutable_data());
  }
  for (const OutputSpec& output : model->outputs()) AddExpected(facts, output, golden);
}

// A text that the column's vocabulary knows, where it has one.
std::string TextFor(const Feature& feature) {
  for (const Transform& transform : feature.transforms()) {
    if (transform.has_vocabulary() && transform.vocabulary().values_size() > 0) {
      return transform.vocabulary().values(0);
    }
  }
  return "a";
}

void AddColumnsRequest(Model* model) {
  Golden* golden = model->add_golden();
  golden->set_guessed(true);
  std::set<std::string> seen;
  for (const Feature& feature : model->view().features()) {
    if (!seen.insert(feature.column()).second) continue;
    const bool text = feature.type() == Feature::STRING;
    GoldenTensor* tensor = Start(feature.column(), text ? DataType::kBytes : DataType::kFp64, {1},
                                 golden->add_inputs());
    if (text) {
      AppendText(TextFor(feature), tensor->mutable_data());
    } else {
      Append(static_cast<double>(seen.size()), tensor->mutable_data());
    }
  }
}

absl::Status Bad(const std::string& field, const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", why));
}

// What a tensor of the file must be like.
struct Wanted {
  DataType type = DataType::kInvalid;
  int64_t columns = 1;  // of a row
  bool any_number = false;
};

bool IsNumber(DataType type) {
  return type != DataType::kInvalid && type != DataType::kBytes && type != DataType::kFp16 &&
         type != DataType::kBf16;
}

template <typename T>
bool AppendInteger(const Json& element, std::string* data) {
  if (!element.is_number_integer()) return false;
  const bool fits = element.is_number_unsigned()
                        ? element.get<uint64_t>() <= uint64_t{std::numeric_limits<T>::max()}
                        : std::numeric_limits<T>::is_signed &&
                              element.get<int64_t>() >= int64_t{std::numeric_limits<T>::min()};
  if (fits) Append(element.get<T>(), data);
  return fits;
}

// Null is a missing number.
bool AppendElement(const Json& element, DataType type, std::string* data) {
  switch (type) {
    case DataType::kFp32:
    case DataType::kFp64:
      if (!element.is_number() && !element.is_null()) return false;
      AppendFloat(element.is_null() ? NAN : element.get<double>(), type, data);
      return true;
    case DataType::kBytes:
      if (!element.is_string()) return false;
      AppendText(element.get<std::string>(), data);
      return true;
    case DataType::kBool:
      if (!element.is_boolean()) return false;
      Append(static_cast<uint8_t>(element.get<bool>()), data);
      return true;
    case DataType::kInt8:
      return AppendInteger<int8_t>(element, data);
    case DataType::kInt16:
      return AppendInteger<int16_t>(element, data);
    case DataType::kInt32:
      return AppendInteger<int32_t>(element, data);
    case DataType::kInt64:
      return AppendInteger<int64_t>(element, data);
    case DataType::kUint8:
      return AppendInteger<uint8_t>(element, data);
    case DataType::kUint16:
      return AppendInteger<uint16_t>(element, data);
    case DataType::kUint32:
      return AppendInteger<uint32_t>(element, data);
    case DataType::kUint64:
      return AppendInteger<uint64_t>(element, data);
    default:
      return false;
  }
}

// One file to one golden request.
class Reader {
 public:
  explicit Reader(const Model& model) : model_(model) {}

  absl::StatusOr<Golden> Read(const std::string& text) {
    const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) return Bad("the file", "must be one JSON object");
    for (const auto& [key, value] : json.items()) {
      if (key == "inputs" || key == "outputs") {
        if (!value.is_array() || value.empty()) return Bad(key, "must be an array, not empty");
      } else if (key == "tolerance") {
        if (!value.is_number() || value.get<double>() < 0 || value.get<double>() >= 1) {
          return Bad(key, "must be a number from 0 and below 1");
        }
        golden_.set_tolerance(value.get<double>());
      } else {
        return Bad(Printable(key), "is not known");
      }
    }
    if (!json.contains("inputs")) return Bad("inputs", "is missing");
    if (!json.contains("outputs")) return Bad("outputs", "is missing");
    if (absl::Status s = ReadInputs(json["inputs"]); !s.ok()) return s;
    if (absl::Status s = ReadOutputs(json["outputs"]); !s.ok()) return s;
    return std::move(golden_);
  }

 private:
  absl::Status ReadInputs(const Json& inputs) {
    size_t known = 0;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const std::string where = absl::StrCat("inputs[", i, "]");
      const std::optional<Wanted> wanted = WantedInput(NameOf(inputs[i]), i == 0);
      if (!wanted.has_value()) return Bad(where + ".name", "the model has no such input");
      if (absl::Status s = ReadTensor(where, inputs[i], *wanted, golden_.add_inputs()); !s.ok()) {
        return s;
      }
    }
    std::set<std::string> wanted;
    if (raw_) {
      for (const Feature& feature : model_.view().features()) wanted.insert(feature.column());
    } else {
      for (const TensorSpec& spec : model_.inputs()) wanted.insert(spec.name());
    }
    for (const GoldenTensor& input : golden_.inputs()) known += wanted.erase(input.name());
    if (known != inputs.size()) return Bad("inputs", "a name is given twice");
    if (!wanted.empty()) return Bad("inputs", *wanted.begin() + " is missing");
    return absl::OkStatus();
  }

  absl::Status ReadOutputs(const Json& outputs) {
    for (size_t i = 0; i < outputs.size(); ++i) {
      const std::string where = absl::StrCat("outputs[", i, "]");
      const std::string name = NameOf(outputs[i]);
      const auto spec =
          std::find_if(model_.outputs().begin(), model_.outputs().end(),
                       [&](const OutputSpec& output) { return output.tensor().name() == name; });
      if (spec == model_.outputs().end())
        return Bad(where + ".name", "the model has no such output");
      const Wanted wanted = {static_cast<DataType>(spec->tensor().datatype()),
                             spec->tensor().dims(0), false};
      if (absl::Status s = ReadTensor(where, outputs[i], wanted, golden_.add_outputs()); !s.ok()) {
        return s;
      }
    }
    return absl::OkStatus();
  }

  static std::string NameOf(const Json& tensor) {
    if (!tensor.is_object()) return "";
    const auto name = tensor.find("name");
    return name != tensor.end() && name->is_string() ? name->get<std::string>() : "";
  }

  // The first input decides whether these are raw columns.
  std::optional<Wanted> WantedInput(const std::string& name, bool first) {
    for (const TensorSpec& spec : model_.inputs()) {
      if (spec.name() != name || (!first && raw_)) continue;
      return Wanted{static_cast<DataType>(spec.datatype()), spec.dims(0), false};
    }
    if (first) raw_ = true;
    for (const Feature& feature : model_.view().features()) {
      if (feature.column() != name || !raw_) continue;
      const bool text = feature.type() == Feature::STRING;
      return Wanted{text ? DataType::kBytes : DataType::kInvalid, 1, !text};
    }
    return std::nullopt;
  }

  absl::Status ReadTensor(const std::string& where, const Json& json, const Wanted& wanted,
                          GoldenTensor* tensor) {
    for (const auto& [key, value] : json.items()) {
      if (key != "name" && key != "datatype" && key != "shape" && key != "data") {
        return Bad(absl::StrCat(where, ".", Printable(key)), "is not known");
      }
    }
    const std::string type_name = json.value("datatype", Json()).is_string()
                                      ? json["datatype"].get<std::string>()
                                      : std::string();
    const DataType type = ParseDataType(type_name).value_or(DataType::kInvalid);
    if (wanted.any_number ? !IsNumber(type) : type != wanted.type) {
      return Bad(where + ".datatype",
                 wanted.any_number
                     ? std::string("must be one of numbers")
                     : absl::StrCat("must be ", std::string(DataTypeName(wanted.type))));
    }
    const Json shape = json.value("shape", Json()), data = json.value("data", Json());
    const bool flat = shape == Json({1}) && wanted.columns == 1;
    if (!flat && shape != Json({1, wanted.columns})) {
      return Bad(where + ".shape", absl::StrCat("must be [1, ", wanted.columns, "]"));
    }
    if (!data.is_array() || static_cast<int64_t>(data.size()) != wanted.columns) {
      return Bad(where + ".data", absl::StrCat("must be ", wanted.columns, " elements"));
    }
    Start(NameOf(json), type, {1, wanted.columns}, tensor);
    for (size_t i = 0; i < data.size(); ++i) {
      if (AppendElement(data[i], type, tensor->mutable_data())) continue;
      return Bad(absl::StrCat(where, ".data[", i, "]"), absl::StrCat("is no ", type_name));
    }
    return absl::OkStatus();
  }

  const Model& model_;
  Golden golden_;
  bool raw_ = false;
};

}  // namespace

void AddGolden(const ModelFacts& facts, Model* model) {
  AddTensorRequest(facts, model);
  if (model->view().features_size() > 0) AddColumnsRequest(model);
}

bool IsRaw(const Model& model, const Golden& golden) {
  return std::none_of(model.inputs().begin(), model.inputs().end(), [&](const TensorSpec& spec) {
    return spec.name() == golden.inputs(0).name();
  });
}

Golden ExpectedOf(const ModelFacts& facts, const Model& model) {
  Golden golden;
  for (const OutputSpec& output : model.outputs()) AddExpected(facts, output, &golden);
  return golden;
}

absl::StatusOr<Golden> ParseGolden(const std::string& text, const Model& model) {
  return Reader(model).Read(text);
}

void PlaceGolden(const Golden& golden, Model* model) {
  for (Golden& made : *model->mutable_golden()) {
    if (IsRaw(*model, made) == IsRaw(*model, golden)) made = golden;
  }
}

absl::Status ReadGolden(const std::string& text, Model* model) {
  absl::StatusOr<Golden> golden = ParseGolden(text, *model);
  if (!golden.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(kGoldenFile, ": ", golden.status().message()));
  }
  PlaceGolden(*golden, model);
  return absl::OkStatus();
}

std::vector<double> CombineGolden(Combine combine, const std::vector<double>& weights,
                                  const std::vector<const std::vector<double>*>& members) {
  if (members.empty() || weights.size() != members.size()) return {};
  const size_t columns = members[0]->size();
  double total = 0;
  for (double weight : weights) total += weight;
  std::vector<double> combined;
  for (size_t c = 0; c < columns; ++c) {
    double sum = 0;
    for (size_t m = 0; m < members.size(); ++m) {
      if (members[m]->size() != columns) return {};
      if (combine == WEIGHTED_MEAN) sum += weights[m] * (*members[m])[c];
      if (combine == VOTE && ClassOf(*members[m]) == (columns == 1 ? 1 : c)) sum += weights[m];
    }
    combined.push_back(sum / total);
  }
  return combined;
}

std::string GoldenDifference(const GoldenTensor& expected, const GoldenTensor& actual,
                             double tolerance) {
  const auto type = static_cast<DataType>(expected.datatype());
  if (!IsFloat(type)) {
    return expected.data() == actual.data() ? "" : "the model answers otherwise";
  }
  if (expected.data().size() != actual.data().size()) return "has another size";
  const size_t count = expected.data().size() / DataTypeSize(type);
  const int digits = type == DataType::kFp64 ? 17 : 9;
  for (size_t i = 0; i < count; ++i) {
    const double wanted = FloatAt(expected.data(), type, i), is = FloatAt(actual.data(), type, i);
    if (Near(wanted, is, tolerance)) continue;
    return absl::StrFormat("element %d is %.*g, and the model answers %.*g", i, digits, wanted,
                           digits, is);
  }
  return "";
}

}  // namespace millrace
