#include "services/registry/signature.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/check.h"
#include "services/registry/text.h"

namespace millrace {
namespace {

constexpr size_t kMaxLabelBytes = 4096;
constexpr uint32_t kDefaultTopK = 5;

// The config names types with the numbers that the catalog uses.
static_assert(static_cast<int>(registry::TYPE_BOOL) == static_cast<int>(DataType::kBool));
static_assert(static_cast<int>(registry::TYPE_FP32) == static_cast<int>(DataType::kFp32));
static_assert(static_cast<int>(registry::TYPE_STRING) == static_cast<int>(DataType::kBytes));
static_assert(static_cast<int>(registry::TYPE_BF16) == static_cast<int>(DataType::kBf16));

// Objectives whose prediction tells classes apart: a column a class, or one column that is 0.5 or
// more for class 1. (multi:softmax predicts a number of a class, which is neither.)
bool Classifies(const std::string& objective) {
  static constexpr std::string_view kObjectives[] = {
      "binary:logistic", "binary:hinge", "multi:softprob", "binary", "multiclass", "multiclassova"};
  const std::string name = objective.substr(0, objective.find(' '));
  return std::find(std::begin(kObjectives), std::end(kObjectives), name) != std::end(kObjectives);
}

std::string TypeName(DataType type) {
  return registry::TensorType_Name(static_cast<registry::TensorType>(type));
}

void SetTensor(const std::string& name, DataType type, int64_t columns, TensorSpec* tensor) {
  tensor->set_name(name);
  tensor->set_datatype(static_cast<uint32_t>(type));
  tensor->add_dims(columns);
}

// Makes one model's signature; the config is completed on the way.
class Maker {
 public:
  Maker(const ModelDefinition& definition, const ModelFacts& facts, const ServerLimits& limits,
        const ReadModelText& read)
      : definition_(definition), facts_(facts), limits_(limits), read_(read) {
    config_ = definition.config;
  }

  absl::StatusOr<Model> Make() {
    model_.set_name(config_.name());
    model_.set_platform(config_.platform());
    model_.set_objective(facts_.objective);
    model_.set_prediction_columns(facts_.prediction_columns);
    model_.set_margin_columns(facts_.margin_columns);
    if (absl::Status s = AddInput(); !s.ok()) return s;
    if (config_.output_size() == 0) config_.add_output()->set_name("prediction");
    for (int i = 0; i < config_.output_size(); ++i) {
      const bool filled_in = definition_.output_kinds.empty();
      if (absl::Status s = AddOutput(filled_in ? PREDICTION : definition_.output_kinds[i], i);
          !s.ok()) {
        return s;
      }
    }
    if (absl::Status s = CheckLimits(); !s.ok()) return s;
    model_.set_max_rows(config_.max_batch_size());
    if (absl::Status s = SetJson(); !s.ok()) return s;
    return std::move(model_);
  }

 private:
  absl::Status Bad(const std::string& path, const std::string& sentence) const {
    return definition_.lines.Bad(path, sentence);
  }

  // The declared type where it is one of `possible`, the first of these where none is declared.
  absl::StatusOr<DataType> ResolveType(const std::string& path, const std::string& what,
                                       registry::TensorType declared,
                                       const std::vector<DataType>& possible) const {
    MR_CHECK(!possible.empty(), "a tensor has a type");
    if (declared == registry::TYPE_INVALID) return possible[0];
    const DataType type = static_cast<DataType>(declared);
    if (std::find(possible.begin(), possible.end(), type) != possible.end()) return type;
    const auto name = [](std::string* out, DataType t) { out->append(TypeName(t)); };
    return Bad(path + ".data_type",
               absl::StrCat(what, ": data_type is ", TypeName(type), ", and the model has ",
                            absl::StrJoin(possible, " or ", name)));
  }

  template <typename Dims>
  absl::Status CheckDims(const std::string& path, const std::string& what, const Dims& declared,
                         int64_t actual) const {
    if (declared.empty() || (declared.size() == 1 && declared[0] == actual)) {
      return absl::OkStatus();
    }
    return Bad(path + ".dims", absl::StrCat(what, ": dims is [", absl::StrJoin(declared, ", "),
                                            "], and the model has [", actual, "]"));
  }

  absl::Status AddInput() {
    if (config_.input_size() == 0) config_.add_input()->set_name("input");
    registry::ModelInput* input = config_.mutable_input(0);
    const std::string what = absl::StrCat("input ", input->name());
    const absl::StatusOr<DataType> type =
        ResolveType("input[0]", what, input->data_type(), facts_.input_types);
    if (!type.ok()) return type.status();
    absl::Status s = CheckDims("input[0]", what, input->dims(), facts_.features);
    if (!s.ok()) return s;
    SetTensor(input->name(), *type, facts_.features, model_.add_inputs());
    input->set_data_type(static_cast<registry::TensorType>(*type));
    input->clear_dims();
    input->add_dims(facts_.features);
    return absl::OkStatus();
  }

  absl::Status AddOutput(OutputKind kind, int index) {
    registry::ModelOutput* output = config_.mutable_output(index);
    const std::string what = absl::StrCat("output ", output->name());
    const std::string path = absl::StrCat("output[", index, "]");
    OutputSpec* spec = model_.add_outputs();
    std::vector<DataType> types;
    uint32_t columns = 0;
    absl::Status s = definition_.fil.has_value()
                         ? ShapeFil(*output, what, &kind, &types, &columns, spec)
                         : Shape(kind, path, what, &types, &columns);
    if (!s.ok()) return s;
    spec->set_kind(kind);
    const absl::StatusOr<DataType> type = ResolveType(path, what, output->data_type(), types);
    if (!type.ok()) return type.status();
    if (s = CheckDims(path, what, output->dims(), columns); !s.ok()) return s;
    if (kind == TOP_K) spec->set_top_k(columns);
    if (!output->label_filename().empty()) {
      if (s = ReadLabels(path, what, output->label_filename(), spec); !s.ok()) return s;
    }
    SetTensor(output->name(), *type, columns, spec->mutable_tensor());
    output->set_data_type(static_cast<registry::TensorType>(*type));
    output->clear_dims();
    output->add_dims(columns);
    return absl::OkStatus();
  }

  absl::Status Shape(OutputKind kind, const std::string& path, const std::string& what,
                     std::vector<DataType>* types, uint32_t* columns) const {
    *columns = 1;
    if (kind == PREDICTION) {
      *types = facts_.prediction_types;
      *columns = facts_.prediction_columns;
      return absl::OkStatus();
    }
    if (kind == MARGIN) {
      if (facts_.margin_columns == 0) return Bad(path, what + ": an ensemble has no margins");
      *types = {facts_.margin_type};
      *columns = facts_.margin_columns;
      return absl::OkStatus();
    }
    if (!facts_.classifies) return BadObjective(path, what);
    *types = {kind == CLASS ? DataType::kInt64 : DataType::kBytes};
    if (kind != TOP_K) return absl::OkStatus();
    if (facts_.prediction_columns == 1) {
      return Bad(path, what + ": needs a column for each class, and the prediction has one in all");
    }
    *columns = std::min(definition_.top_k.value_or(kDefaultTopK), facts_.prediction_columns);
    return absl::OkStatus();
  }

  absl::Status BadObjective(const std::string& path, const std::string& what) const {
    return Bad(path, absl::StrCat(what, ": needs a prediction of classes, and the objective is ",
                                  facts_.objective));
  }

  // FIL's one output (fil_config.h): FP32, of whatever the model's own type is.
  absl::Status ShapeFil(const registry::ModelOutput& output, const std::string& what,
                        OutputKind* kind, std::vector<DataType>* types, uint32_t* columns,
                        OutputSpec* spec) const {
    const bool numbers_classes = facts_.objective.rfind("multi:softmax", 0) == 0;
    const bool one = facts_.prediction_columns == 1;
    *types = {DataType::kFp32};
    *columns = facts_.prediction_columns;
    if (definition_.fil->probabilities && numbers_classes) {
      return Bad("parameters.predict_proba",
                 "parameters predict_proba: the objective multi:softmax predicts no probabilities; "
                 "multi:softprob does");
    }
    if (*kind == CLASS && !numbers_classes) {
      if (!one && !facts_.classifies) return BadObjective("output[0]", what);
      if (!output.label_filename().empty()) {
        return Bad("output[0].label_filename",
                   what + ": label_filename needs probabilities (parameter predict_proba)");
      }
      *columns = 1;
      if (one) spec->set_above(definition_.fil->threshold);
      return absl::OkStatus();
    }
    const bool both = one && facts_.classifies && definition_.fil->probabilities &&
                      output.dims_size() == 1 && output.dims(0) == 2;
    if (both) *columns = 2;
    *kind = both || facts_.prediction_types[0] != DataType::kFp32 ? SCORES : PREDICTION;
    return absl::OkStatus();
  }

  absl::Status ReadLabels(const std::string& path, const std::string& what, const std::string& file,
                          OutputSpec* spec) {
    const std::string field = path + ".label_filename";
    absl::StatusOr<std::string> text = read_(file);
    if (!text.ok()) {
      return Bad(field,
                 absl::StrCat(what, ": label_filename: ", std::string(text.status().message())));
    }
    if (!text->empty() && text->back() == '\n') text->pop_back();
    int line = 0;
    for (absl::string_view label : absl::StrSplit(*text, '\n')) {
      ++line;
      if (!label.empty() && label.back() == '\r') label.remove_suffix(1);
      const std::string_view checked(label.data(), label.size());
      if (label.empty() || label.size() > kMaxLabelBytes || !IsUtf8(checked)) {
        return Bad(field, absl::StrCat(what, ": label_filename ", file, ":", line,
                                       ": a label is UTF-8 of 1 to ", kMaxLabelBytes, " bytes"));
      }
      spec->add_labels(std::string(label));
    }
    const uint32_t classes = std::max(facts_.prediction_columns, 2u);
    if (static_cast<uint32_t>(spec->labels_size()) == classes) return absl::OkStatus();
    return Bad(field, absl::StrCat(what, ": label_filename ", file, " has ", spec->labels_size(),
                                   " labels for ", classes, " classes"));
  }

  absl::Status CheckLimits() {
    // A number for FIL is "whatever fits", so that its examples ask for very many rows.
    if (definition_.fil.has_value() && config_.max_batch_size() > limits_.max_batch_rows) {
      config_.set_max_batch_size(static_cast<int32_t>(limits_.max_batch_rows));
    }
    const int64_t rows = config_.max_batch_size();
    if (rows > limits_.max_batch_rows) {
      return Bad("max_batch_size",
                 absl::StrCat("max_batch_size is ", rows, ", and the server's ",
                              "execution.max_batch_rows is ", limits_.max_batch_rows));
    }
    if (facts_.max_rows != 0 && rows > facts_.max_rows) {
      return Bad("max_batch_size", absl::StrCat("max_batch_size is ", rows, ", and a member takes ",
                                                facts_.max_rows));
    }
    const TensorSpec& input = model_.inputs(0);
    const int64_t input_bytes = RowBytes(input);
    int64_t output_bytes = 0;
    for (const OutputSpec& output : model_.outputs()) output_bytes += RowBytes(output.tensor());
    if (std::max(input_bytes, output_bytes) <= limits_.max_request_bytes) return absl::OkStatus();
    return Bad(input_bytes > limits_.max_request_bytes ? "input[0]" : "output[0]",
               absl::StrCat(input_bytes > limits_.max_request_bytes ? "input" : "output",
                            ": one row has ", std::max(input_bytes, output_bytes),
                            " bytes, and the server's ingress.max_request_bytes is ",
                            limits_.max_request_bytes));
  }

  // Of what has a fixed size.
  static int64_t RowBytes(const TensorSpec& tensor) {
    return tensor.dims(0) *
           static_cast<int64_t>(DataTypeSize(static_cast<DataType>(tensor.datatype())));
  }

  absl::Status SetJson() {
    google::protobuf::util::JsonPrintOptions options;
    options.preserve_proto_field_names = true;
    options.always_print_primitive_fields = true;
    if (google::protobuf::util::MessageToJsonString(config_, model_.mutable_config_json(), options)
            .ok()) {
      return absl::OkStatus();
    }
    return Bad("", "cannot be written as JSON");
  }

  const ModelDefinition& definition_;
  const ModelFacts& facts_;
  const ServerLimits& limits_;
  const ReadModelText& read_;
  registry::ModelConfig config_;
  Model model_;
};

}  // namespace

ModelFacts FactsOf(const CompileReport& report) {
  ModelFacts facts;
  facts.objective = report.objective;
  facts.features = report.features;
  facts.prediction_columns = report.prediction_columns;
  facts.margin_columns = report.groups;
  facts.input_types = {DataType::kFp32};
  // LightGBM compares in double, so it takes doubles too; XGBoost compares in float.
  if (report.margin_type == DataType::kFp64) facts.input_types.push_back(DataType::kFp64);
  facts.prediction_types = {report.prediction_type};
  facts.margin_type = report.margin_type;
  facts.classifies = Classifies(report.objective);
  facts.golden_margins = report.golden_margins;
  facts.golden_predictions = report.golden_predictions;
  return facts;
}

absl::StatusOr<Model> MakeSignature(const ModelDefinition& definition, const ModelFacts& facts,
                                    const ServerLimits& limits, const ReadModelText& read) {
  MR_CHECK(facts.features > 0 && facts.prediction_columns > 0, "a model takes and makes something");
  return Maker(definition, facts, limits, read).Make();
}

}  // namespace millrace
