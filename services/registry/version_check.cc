#include "services/registry/version_check.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/datatype.h"
#include "services/registry/golden.h"
#include "services/registry/text.h"

namespace millrace {
namespace {

const char* KindName(OutputKind kind) {
  switch (kind) {
    case PREDICTION:
      return "prediction";
    case MARGIN:
      return "margin";
    case CLASS:
      return "class";
    case LABEL:
      return "label";
    case TOP_K:
      return "top_k";
    case SCORES:
      return "scores";
    default:
      return "none";
  }
}

class ModelCheck {
 public:
  ModelCheck(const Manifest& manifest, const Model& model, std::vector<ConfigFault>* faults)
      : manifest_(manifest), model_(model), faults_(*faults) {}

  void Run() {
    std::vector<const TensorSpec*> inputs, outputs;
    for (const TensorSpec& input : model_.inputs()) inputs.push_back(&input);
    for (const OutputSpec& output : model_.outputs()) outputs.push_back(&output.tensor());
    Tensors("inputs", manifest_.inputs, inputs);
    Tensors("outputs", manifest_.outputs, outputs);
    for (size_t i = 0; i < std::min(manifest_.outputs.size(), outputs.size()); ++i) {
      Same(manifest_.outputs[i].line, absl::StrCat("signature.outputs[", i, "].kind"),
           manifest_.outputs[i].kind, KindName(model_.outputs(static_cast<int>(i)).kind()));
    }
    View();
    Fields();
  }

 private:
  void Fault(int line, const std::string& field, const std::string& message) {
    faults_.push_back({line, field, message});
  }

  void Same(int line, const std::string& field, const std::string& declared,
            const std::string& actual) {
    if (declared == actual) return;
    Fault(line, field, absl::StrCat("is ", declared, ", and the model has ", actual));
  }

  void Tensors(const char* list, const std::vector<ManifestTensor>& declared,
               const std::vector<const TensorSpec*>& actual) {
    if (declared.empty()) return;  // was at fault itself
    if (declared.size() != actual.size()) {
      Fault(declared[0].line, absl::StrCat("signature.", list),
            absl::StrCat("has ", declared.size(), " tensors, and the model has ", actual.size()));
    }
    for (size_t i = 0; i < std::min(declared.size(), actual.size()); ++i) {
      const std::string path = absl::StrCat("signature.", list, "[", i, "]");
      const ManifestTensor& tensor = declared[i];
      Same(tensor.line, path + ".name", tensor.name, actual[i]->name());
      Same(tensor.line, path + ".datatype", std::string(DataTypeName(tensor.datatype)),
           std::string(DataTypeName(static_cast<DataType>(actual[i]->datatype()))));
      Same(tensor.line, path + ".shape", absl::StrCat("[-1, ", tensor.columns, "]"),
           absl::StrCat("[-1, ", actual[i]->dims(0), "]"));
    }
  }

  void View() {
    if (!manifest_.view.has_value()) {
      if (model_.has_view()) {
        Fault(0, "view",
              absl::StrCat("is missing, and the model has the view ", model_.view().name()));
      }
      return;
    }
    Same(manifest_.view->line, "view.name", manifest_.view->name, model_.view().name());
  }

  void Fields() {
    const std::vector<std::string> names = FieldsOf(model_);
    const std::set<std::string> known(names.begin(), names.end());
    for (size_t i = 0; i < manifest_.data_protection.size(); ++i) {
      const DataTag& tag = manifest_.data_protection[i];
      if (known.count(tag.field) > 0) continue;
      Fault(tag.line, absl::StrCat("data_protection[", i, "].field"),
            absl::StrCat("is ", tag.field, ", and no input has that name"));
    }
    for (size_t i = 0; i < manifest_.reference.size(); ++i) {
      const ReferenceBins& bins = manifest_.reference[i];
      if (known.count(bins.field) > 0) continue;
      Fault(bins.line, absl::StrCat("reference[", i, "].field"),
            absl::StrCat("is ", bins.field, ", and no input has that name"));
    }
  }

  const Manifest& manifest_;
  const Model& model_;
  std::vector<ConfigFault>& faults_;
};

void CheckRow(const Golden& golden, const Golden& computed, int line, const std::string& path,
              std::vector<ConfigFault>* faults) {
  for (int o = 0; o < golden.outputs_size(); ++o) {
    const GoldenTensor& expected = golden.outputs(o);
    const auto actual =
        std::find_if(computed.outputs().begin(), computed.outputs().end(),
                     [&](const GoldenTensor& each) { return each.name() == expected.name(); });
    if (actual == computed.outputs().end()) continue;  // ingress asks for it
    const std::string difference = GoldenDifference(expected, *actual, golden.tolerance());
    if (difference.empty()) continue;
    faults->push_back({line, absl::StrCat(path, ".outputs[", o, "]"), difference});
  }
}

}  // namespace

std::vector<std::string> FieldsOf(const Model& model) {
  std::vector<std::string> names;
  for (const Feature& feature : model.view().features()) {
    if (std::find(names.begin(), names.end(), feature.column()) == names.end()) {
      names.push_back(feature.column());
    }
  }
  for (const TensorSpec& input : model.inputs()) {
    for (int64_t c = 0; c < input.dims(0); ++c) {
      names.push_back(absl::StrCat(input.name(), "[", c, "]"));
    }
  }
  return names;
}

void CheckAgainstModel(const Manifest& manifest, const Model& model,
                       std::vector<ConfigFault>* faults) {
  ModelCheck(manifest, model, faults).Run();
}

void CheckGoldenVectors(const Manifest& manifest, const ModelFacts& facts, int plan,
                        const CompileOptions& options, Model* model,
                        std::vector<ConfigFault>* faults) {
  std::string rows;
  std::vector<std::pair<size_t, Golden>> run;  // with its place in the manifest
  bool placed[2] = {false, false};
  for (size_t i = 0; i < manifest.golden.size(); ++i) {
    absl::StatusOr<Golden> golden = ParseGolden(manifest.golden[i].json, *model);
    if (!golden.ok()) {
      faults->push_back({manifest.golden[i].line, absl::StrCat("golden[", i, "]"),
                         std::string(golden.status().message())});
      continue;
    }
    const bool raw = IsRaw(*model, *golden);
    if (!std::exchange(placed[raw], true)) PlaceGolden(*golden, model);
    if (raw || plan < 0) continue;
    rows += golden->inputs(0).data();
    run.emplace_back(i, std::move(*golden));
  }
  if (run.empty()) return;
  const auto type = static_cast<DataType>(model->inputs(0).datatype());
  const absl::StatusOr<std::vector<double>> results = EvaluatePlan(plan, type, rows, options);
  const size_t each = facts.margin_columns + facts.prediction_columns;
  if (!results.ok() || results->size() != run.size() * each) {
    faults->push_back(
        {manifest.golden[0].line, "golden",
         absl::StrCat("could not be run: ", results.ok() ? "the compiler answered nonsense"
                                                         : results.status().message())});
    return;
  }
  for (size_t r = 0; r < run.size(); ++r) {
    const double* const numbers = results->data() + r * each;
    ModelFacts row = facts;
    row.golden_margins.assign(numbers, numbers + facts.margin_columns);
    row.golden_predictions.assign(numbers + facts.margin_columns, numbers + each);
    const size_t place = run[r].first;
    CheckRow(run[r].second, ExpectedOf(row, *model), manifest.golden[place].line,
             absl::StrCat("golden[", place, "]"), faults);
  }
}

}  // namespace millrace
