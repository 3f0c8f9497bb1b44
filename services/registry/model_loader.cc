#include "services/registry/model_loader.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/check.h"
#include "services/registry/feature_view.h"
#include "services/registry/golden.h"

namespace millrace {
namespace {

constexpr size_t kMaxConfigBytes = 1 << 20;
constexpr size_t kMaxTextBytes = 8 << 20;  // labels
constexpr char kViewFile[] = "features.yaml";

absl::Status CheckFormat(const std::string& platform, const std::string& format) {
  if (format.rfind(platform + "_", 0) == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("config.pbtxt: platform is ", platform, ", and the file's format is ", format));
}

}  // namespace

absl::StatusOr<ModelDefinition> ModelLoader::ReadDefinition(const std::string& folder) const {
  absl::StatusOr<std::string> text =
      repository_.ReadText(folder + "/config.pbtxt", kMaxConfigBytes);
  if (!text.ok()) return text.status();
  return ParseModelDefinition(*text, folder);
}

absl::StatusOr<Fd> ModelLoader::OpenModelFile(const ModelDefinition& definition,
                                              int64_t version) const {
  const std::string folder = absl::StrCat(definition.config.name(), "/", version, "/");
  for (const std::string& name : definition.files) {
    absl::StatusOr<Fd> file = repository_.OpenFile(folder + name);
    if (file.ok() || !absl::IsNotFound(file.status())) return file;
  }
  return absl::NotFoundError(
      absl::StrCat(folder, absl::StrJoin(definition.files, " or "), " does not exist"));
}

absl::StatusOr<LoadedModel> ModelLoader::LoadPlain(const ModelDefinition& definition,
                                                   int64_t version) const {
  MR_CHECK(!definition.IsEnsemble(), "an ensemble has no file");
  absl::StatusOr<Fd> file = OpenModelFile(definition, version);
  if (!file.ok()) return file.status();
  absl::StatusOr<CompiledPlan> compiled = RunCompiler(file->get(), "auto", options_.compile);
  if (!compiled.ok()) return compiled.status();
  const CompileReport& report = compiled->report;
  if (absl::Status s = CheckFormat(definition.platform(), report.format); !s.ok()) return s;
  absl::StatusOr<LoadedModel> loaded = Finish(definition, version, FactsOf(report));
  if (!loaded.ok()) return loaded.status();
  loaded->model.set_plan_bytes(report.plan_bytes);
  loaded->plan = std::move(compiled->plan);
  return loaded;
}

absl::StatusOr<LoadedModel> ModelLoader::LoadEnsemble(
    const ModelDefinition& definition, int64_t version,
    const std::vector<EnsembleMember>& members) const {
  MR_CHECK(definition.IsEnsemble(), "a plain model has no members");
  absl::StatusOr<ModelFacts> facts = CombineFacts(definition.ensemble, members);
  if (!facts.ok()) return facts.status();
  absl::StatusOr<LoadedModel> loaded = Finish(definition, version, std::move(*facts));
  if (!loaded.ok()) return loaded.status();
  loaded->model.set_combine(definition.ensemble.combine);
  for (double weight : definition.ensemble.weights) {
    loaded->model.add_members()->set_weight(weight);
  }
  return loaded;
}

absl::StatusOr<LoadedModel> ModelLoader::Finish(const ModelDefinition& definition, int64_t version,
                                                ModelFacts facts) const {
  const std::string& folder = definition.config.name();
  const ReadModelText read = [this, &folder](const std::string& name) {
    return repository_.ReadText(absl::StrCat(folder, "/", name), kMaxTextBytes);
  };
  absl::StatusOr<Model> model = MakeSignature(definition, facts, options_.limits, read);
  if (!model.ok()) return model.status();
  LoadedModel loaded{std::move(*model), std::move(facts), Fd()};
  loaded.model.set_version(absl::StrCat(version));
  if (absl::Status s = AddView(folder, &loaded.model); !s.ok()) return s;
  AddGolden(loaded.facts, &loaded.model);
  if (absl::Status s = ReadGoldenFile(folder, &loaded.model); !s.ok()) return s;
  return loaded;
}

absl::Status ModelLoader::ReadGoldenFile(const std::string& folder, Model* model) const {
  absl::StatusOr<std::string> text = repository_.ReadText(
      absl::StrCat(folder, "/", model->version(), "/", kGoldenFile), kMaxTextBytes);
  if (absl::IsNotFound(text.status())) return absl::OkStatus();
  if (!text.ok()) return text.status();
  return ReadGolden(*text, model);
}

absl::Status ModelLoader::AddView(const std::string& folder, Model* model) const {
  const std::string path = absl::StrCat(folder, "/", kViewFile);
  absl::StatusOr<std::string> text = repository_.ReadText(path, kMaxTextBytes);
  if (absl::IsNotFound(text.status())) return absl::OkStatus();
  if (!text.ok()) return text.status();
  const TensorSpec& tensor = model->inputs(0);
  if (tensor.datatype() != static_cast<uint32_t>(DataType::kFp32)) {
    return absl::InvalidArgumentError(
        absl::StrCat(kViewFile, ": a view makes FP32, and the config declares another data_type"));
  }
  FeatureViewResult result =
      ParseFeatureView(*text, static_cast<uint32_t>(tensor.dims(0)), tensor.name());
  if (!result.faults.empty()) {
    return absl::InvalidArgumentError(absl::StrJoin(FormatFaults(kViewFile, result.faults), "; "));
  }
  *model->mutable_view() = std::move(result.view);
  return absl::OkStatus();
}

}  // namespace millrace
