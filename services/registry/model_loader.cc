#include "services/registry/model_loader.h"

#include <sys/stat.h>

#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/check.h"
#include "common/log.h"
#include "services/registry/feature_view.h"
#include "services/registry/golden.h"
#include "services/registry/manifest/sha256.h"
#include "services/registry/manifest/utc.h"
#include "services/registry/version_check.h"
#include "services/runtime/background.h"

namespace millrace {
namespace {

constexpr size_t kMaxConfigBytes = 1 << 20;
constexpr size_t kMaxTextBytes = 8 << 20;  // labels

absl::Status AddView(const VersionFiles& files, Model* model) {
  absl::StatusOr<std::string> text = files.Text(kViewFile, kMaxTextBytes);
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

absl::Status AddGoldenFile(const VersionFiles& files, Model* model) {
  absl::StatusOr<std::string> text =
      files.Text(absl::StrCat(model->version(), "/", kGoldenFile), kMaxTextBytes);
  if (absl::IsNotFound(text.status())) return absl::OkStatus();
  if (!text.ok()) return text.status();
  return ReadGolden(*text, model);
}

void SetProvenance(const Manifest& manifest, const TrustPolicy& trust, Model* model) {
  Provenance* provenance = model->mutable_provenance();
  provenance->set_owner(manifest.owner);
  provenance->set_policy(manifest.policy);
  provenance->set_trained_at(manifest.trained_at);
  if (manifest.lineage.has_value()) {
    provenance->set_data(manifest.lineage->data);
    provenance->set_code(manifest.lineage->code);
    provenance->set_parent(manifest.lineage->parent);
  }
  // Without a trusted key nobody held the signature against anything.
  if (manifest.signature_block.has_value() && !trust.trusted_keys.empty()) {
    provenance->set_signed_by(manifest.signature_block->key);
    provenance->set_signed_until(manifest.signature_block->until);
  }
  const bool raw = model->view().features_size() > 0;
  std::set<std::string> fields;
  for (const Feature& feature : model->view().features()) fields.insert(feature.column());
  provenance->set_fields(raw ? fields.size() : model->inputs(0).dims(0));
  provenance->set_tagged_fields(manifest.data_protection.size());
}

void SetAge(int file, const Manifest* manifest, ModelFacts* facts) {
  struct stat info;
  if (manifest != nullptr) {
    facts->weights_made_s = ParseUtc(manifest->trained_at).value_or(0);
  } else if (fstat(file, &info) == 0) {
    facts->weights_made_s = info.st_mtime;
    facts->weights_of_file = true;
  }
}

absl::Status CheckFormat(const ModelDefinition& definition, const std::string& format) {
  if (format.rfind(definition.Format(), 0) == 0) return absl::OkStatus();
  if (definition.fil.has_value()) {
    return definition.lines.Bad("parameters.model_type",
                                absl::StrCat("parameters model_type says ", definition.Format(),
                                             ", and the file's format is ", format));
  }
  return definition.lines.Bad("platform", absl::StrCat("platform is ", definition.platform(),
                                                       ", and the file's format is ", format));
}

}  // namespace

absl::StatusOr<ModelDefinition> ModelLoader::ReadDefinition(const std::string& folder) const {
  absl::StatusOr<std::string> text =
      repository_.ReadText(folder + "/config.pbtxt", kMaxConfigBytes);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(
        absl::StrCat(text.status().message(),
                     ": nothing is guessed, and platform and max_batch_size are enough"));
  }
  if (!text.ok()) return text.status();
  absl::StatusOr<ModelDefinition> definition = ParseModelDefinition(*text, folder);
  if (!definition.ok()) return definition;
  definition->config_sha256 = Sha256Of(*text);
  definition->config_bytes = text->size();
  return definition;
}

void ModelLoader::TellUnused(const ModelDefinition& definition) {
  for (const std::string& option : definition.unused) {
    Log(LogLevel::kWarning, "config_option_not_used",
        {{"model", definition.config.name()}, {"option", option}});
  }
}

absl::Status ModelLoader::Refuse(const std::string& what,
                                 const std::vector<ConfigFault>& faults) const {
  const std::vector<std::string> sentences = FormatFaults(what, faults);
  if (options_.tell != nullptr) {
    options_.tell->insert(options_.tell->end(), sentences.begin(), sentences.end());
  }
  return absl::InvalidArgumentError(absl::StrJoin(sentences, "; "));
}

template <typename Load>
absl::StatusOr<LoadedModel> ModelLoader::Checked(const ModelDefinition& definition, int64_t version,
                                                 Load load) const {
  const std::string what = absl::StrCat(version, "/", kManifestFile);
  VersionFiles files(repository_, definition, version);
  std::vector<ConfigFault> faults;
  files.Open(options_.manifest, static_cast<size_t>(options_.compile.max_memory_mb) << 20, &faults);
  const bool go_on = options_.tell != nullptr && files.model_file_is_good();
  if (!faults.empty() && !go_on) return Refuse(what, faults);
  absl::StatusOr<LoadedModel> loaded = load(files);
  if (!loaded.ok()) {
    if (options_.tell != nullptr) options_.tell->emplace_back(loaded.status().message());
    return faults.empty() ? loaded.status() : Refuse(what, faults);
  }
  if (const Manifest* manifest = files.manifest()) {
    CheckAgainstModel(*manifest, loaded->model, &faults);
    CheckGoldenVectors(*manifest, loaded->facts, loaded->plan.get(), options_.compile,
                       &loaded->model, &faults);
    SetProvenance(*manifest, options_.manifest.trust, &loaded->model);
  }
  if (!faults.empty()) return Refuse(what, faults);
  return loaded;
}

FileStamp ModelLoader::StampOf(const ModelDefinition& definition, int64_t version) const {
  const absl::StatusOr<Fd> file = VersionFiles(repository_, definition, version).ModelFile();
  struct stat info;
  if (!file.ok() || fstat(file->get(), &info) != 0) return {};
  return {info.st_dev, info.st_ino, info.st_size,
          int64_t{info.st_ctim.tv_sec} * 1'000'000'000 + info.st_ctim.tv_nsec};
}

absl::StatusOr<LoadedModel> ModelLoader::LoadPlain(const ModelDefinition& definition,
                                                   int64_t version) const {
  MR_CHECK(!definition.IsEnsemble(), "an ensemble has no file");
  return Checked(definition, version,
                 [&](const VersionFiles& files) { return Compile(definition, files, version); });
}

absl::StatusOr<LoadedModel> ModelLoader::Compile(const ModelDefinition& definition,
                                                 const VersionFiles& files, int64_t version) const {
  absl::StatusOr<Fd> file = files.ModelFile();
  if (!file.ok()) return file.status();
  absl::StatusOr<CompiledPlan> compiled = RunCompiler(file->get(), "auto", options_.compile);
  if (!compiled.ok()) return compiled.status();
  LetOthersRun();
  const CompileReport& report = compiled->report;
  if (absl::Status s = CheckFormat(definition, report.format); !s.ok()) return s;
  absl::StatusOr<LoadedModel> loaded = Finish(definition, files, version, FactsOf(report));
  if (!loaded.ok()) return loaded.status();
  SetAge(file->get(), files.manifest(), &loaded->facts);
  loaded->model.set_plan_bytes(report.plan_bytes);
  loaded->model.set_worker_bytes(report.private_bytes);
  loaded->plan = std::move(compiled->plan);
  LetOthersRun();
  return loaded;
}

absl::StatusOr<LoadedModel> ModelLoader::LoadEnsemble(
    const ModelDefinition& definition, int64_t version,
    const std::vector<EnsembleMember>& members) const {
  MR_CHECK(definition.IsEnsemble(), "a plain model has no members");
  return Checked(definition, version, [&](const VersionFiles& files) {
    return Join(definition, files, version, members);
  });
}

absl::StatusOr<LoadedModel> ModelLoader::Join(const ModelDefinition& definition,
                                              const VersionFiles& files, int64_t version,
                                              const std::vector<EnsembleMember>& members) const {
  absl::StatusOr<ModelFacts> facts = CombineFacts(definition.ensemble, members);
  if (!facts.ok()) return facts.status();
  absl::StatusOr<LoadedModel> loaded = Finish(definition, files, version, std::move(*facts));
  if (!loaded.ok()) return loaded.status();
  loaded->model.set_combine(definition.ensemble.combine);
  for (double weight : definition.ensemble.weights) {
    loaded->model.add_members()->set_weight(weight);
  }
  return loaded;
}

absl::StatusOr<LoadedModel> ModelLoader::Finish(const ModelDefinition& definition,
                                                const VersionFiles& files, int64_t version,
                                                ModelFacts facts) const {
  const ReadModelText read = [&files](const std::string& name) {
    return files.Text(name, kMaxTextBytes);
  };
  absl::StatusOr<Model> model = MakeSignature(definition, facts, options_.limits, read);
  if (!model.ok()) return model.status();
  if (const int32_t asked = definition.config.max_batch_size();
      static_cast<int64_t>(model->max_rows()) < asked) {
    Log(LogLevel::kWarning, "config_option_not_used",
        {{"model", model->name()},
         {"option", absl::StrCat(definition.lines.Place("max_batch_size"), "max_batch_size is ",
                                 asked, ", and ", model->max_rows(),
                                 " rows are taken: the server's execution.max_batch_rows")}});
  }
  LoadedModel loaded{std::move(*model), std::move(facts), Fd()};
  loaded.model.set_version(absl::StrCat(version));
  if (absl::Status s = AddView(files, &loaded.model); !s.ok()) return s;
  AddGolden(loaded.facts, &loaded.model);
  if (absl::Status s = AddGoldenFile(files, &loaded.model); !s.ok()) return s;
  return loaded;
}

}  // namespace millrace
