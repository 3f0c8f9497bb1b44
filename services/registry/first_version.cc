#include "services/registry/first_version.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/datatype.h"
#include "common/golden_row.h"
#include "services/registry/first_manifest.h"
#include "services/registry/golden.h"
#include "services/registry/manifest/sha256.h"
#include "services/registry/manifest/utc.h"
#include "services/registry/sealed_file.h"

namespace millrace {
namespace {

constexpr size_t kGoldenRows = 3;
constexpr uint32_t kMaxGoldenColumns = 4096;  // more would make a manifest nobody can read

class Describer {
 public:
  Describer(const Repository& repository, const LoaderOptions& options, int64_t version)
      : repository_(repository),
        loader_(repository, options),
        options_(options),
        version_(version) {}

  absl::StatusOr<std::string> Describe(const std::string& model, const std::string& sample) {
    absl::StatusOr<ModelDefinition> definition = loader_.ReadDefinition(model);
    if (!definition.ok()) return definition.status();
    if (definition->IsEnsemble()) {
      return absl::UnimplementedError("an ensemble's manifest is written by hand");
    }
    absl::StatusOr<LoadedModel> loaded = loader_.LoadPlain(*definition, version_);
    if (!loaded.ok()) return loaded.status();
    first_.model = &loaded->model;
    if (absl::Status s = AddFiles(*definition, loaded->model); !s.ok()) return s;
    absl::StatusOr<SampleTable> table;
    if (!sample.empty()) {
      table = ParseSample(sample);
      if (!table.ok()) return SampleFault(table.status());
      const absl::StatusOr<bool> raw = SampleIsRaw(loaded->model, *table);
      if (!raw.ok()) return SampleFault(raw.status());
      first_.sample = &*table;
      if (absl::Status s = AddGolden(*loaded, *raw ? nullptr : &*table); !s.ok()) return s;
    } else if (absl::Status s = AddGolden(*loaded, nullptr); !s.ok()) {
      return s;
    }
    return WriteFirstManifest(first_);
  }

 private:
  static absl::Status SampleFault(const absl::Status& status) {
    return absl::InvalidArgumentError(absl::StrCat("the sample ", status.message()));
  }

  absl::Status AddFiles(const ModelDefinition& definition, const Model& model) {
    const std::string folder = absl::StrCat(model.name(), "/", version_, "/");
    for (const std::string& name : definition.files) {
      const absl::StatusOr<Fd> file = repository_.OpenFile(folder + name);
      if (absl::IsNotFound(file.status())) continue;
      if (!file.ok()) return file.status();
      struct stat info;
      if (fstat(file->get(), &info) != 0) return absl::UnavailableError(name + " cannot be read");
      first_.trained_at = FormatUtc(info.st_mtime);
      if (absl::Status s = AddFile(file->get(), name, &first_.files); !s.ok()) return s;
      break;
    }
    if (absl::Status s = AddIfThere(folder, kGoldenFile, &first_.files); !s.ok()) return s;
    for (const registry::ModelOutput& output : definition.config.output()) {
      const std::string& labels = output.label_filename();
      const bool listed =
          std::any_of(first_.shared.begin(), first_.shared.end(),
                      [&](const ManifestFile& file) { return file.name == labels; });
      if (labels.empty() || listed) continue;
      const absl::Status s = AddIfThere(model.name() + "/", labels, &first_.shared);
      if (!s.ok()) return s;
    }
    if (!model.has_view()) return absl::OkStatus();
    std::vector<ManifestFile> view;
    if (absl::Status s = AddIfThere(model.name() + "/", kViewFile, &view); !s.ok()) return s;
    if (!view.empty()) first_.view_sha256 = view[0].sha256;
    return absl::OkStatus();
  }

  absl::Status AddIfThere(const std::string& folder, const std::string& name,
                          std::vector<ManifestFile>* list) {
    const absl::StatusOr<Fd> file = repository_.OpenFile(folder + name);
    if (absl::IsNotFound(file.status())) return absl::OkStatus();
    return file.ok() ? AddFile(file->get(), name, list) : file.status();
  }

  absl::Status AddFile(int fd, const std::string& name, std::vector<ManifestFile>* list) {
    ManifestFile file;
    file.name = name;
    const absl::StatusOr<Fd> copy =
        CopySealed(fd, static_cast<size_t>(options_.compile.max_memory_mb) << 20, &file.sha256);
    if (!copy.ok()) return copy.status();
    file.bytes = lseek(copy->get(), 0, SEEK_END);
    list->push_back(std::move(file));
    return absl::OkStatus();
  }

  // Rows spread over the sample, or the row that every model is asked.
  absl::Status AddGolden(const LoadedModel& loaded, const SampleTable* sample) {
    const TensorSpec& input = loaded.model.inputs(0);
    if (input.dims(0) > kMaxGoldenColumns) return absl::OkStatus();
    const auto type = static_cast<DataType>(input.datatype());
    const size_t count = sample == nullptr ? 1 : std::min(sample->rows, kGoldenRows);
    std::string rows;
    for (size_t r = 0; r < count; ++r) {
      GoldenTensor tensor;
      tensor.set_name(input.name());
      tensor.set_datatype(input.datatype());
      tensor.add_shape(1);
      tensor.add_shape(input.dims(0));
      for (int64_t c = 0; c < input.dims(0); ++c) {
        const double value =
            sample == nullptr
                ? GoldenRowValue(static_cast<size_t>(c))
                : sample->columns[c].numbers[r * (sample->rows / count)].value_or(NAN);
        AppendNumber(value, type, tensor.mutable_data());
      }
      rows += tensor.data();
      first_.golden.emplace_back();
      *first_.golden.back().add_inputs() = std::move(tensor);
    }
    const absl::StatusOr<std::vector<double>> results =
        EvaluatePlan(loaded.plan.get(), type, rows, options_.compile);
    if (!results.ok()) return results.status();
    const size_t each = loaded.facts.margin_columns + loaded.facts.prediction_columns;
    if (results->size() != count * each)
      return absl::InternalError("the compiler answered nonsense");
    for (size_t r = 0; r < count; ++r) AddAnswer(loaded, results->data() + r * each, r);
    const auto unusable = [](const Golden& golden) { return golden.outputs_size() == 0; };
    first_.golden.erase(std::remove_if(first_.golden.begin(), first_.golden.end(), unusable),
                        first_.golden.end());
    return absl::OkStatus();
  }

  void AddAnswer(const LoadedModel& loaded, const double* numbers, size_t r) {
    const size_t margins = loaded.facts.margin_columns;
    const size_t each = margins + loaded.facts.prediction_columns;
    if (!std::all_of(numbers, numbers + each, [](double x) { return isfinite(x); })) return;
    ModelFacts facts = loaded.facts;
    facts.golden_margins.assign(numbers, numbers + margins);
    facts.golden_predictions.assign(numbers + margins, numbers + each);
    const Golden answer = ExpectedOf(facts, loaded.model);
    *first_.golden[r].mutable_outputs() = answer.outputs();
  }

  static void AppendNumber(double value, DataType type, std::string* data) {
    if (type == DataType::kFp64) {
      data->append(reinterpret_cast<const char*>(&value), sizeof value);
      return;
    }
    const auto narrow = static_cast<float>(value);
    data->append(reinterpret_cast<const char*>(&narrow), sizeof narrow);
  }

  const Repository& repository_;
  const ModelLoader loader_;
  const LoaderOptions& options_;
  const int64_t version_;
  FirstManifest first_;
};

}  // namespace

absl::StatusOr<std::string> DescribeVersion(const std::string& root, const std::string& model,
                                            int64_t version, LoaderOptions options,
                                            const std::string& sample) {
  absl::StatusOr<Repository> repository = Repository::Open(root);
  if (!repository.ok()) return repository.status();
  options.manifest.mode = ManifestOptions::Mode::kOff;
  return Describer(*repository, options, version).Describe(model, sample);
}

}  // namespace millrace
