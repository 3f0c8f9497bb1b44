#include "services/registry/model_definition.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "services/registry/config_parameters.h"
#include "services/registry/ensemble_parameters.h"
#include "services/registry/text.h"

namespace millrace {
namespace {

constexpr int32_t kMaxBatchSize = 1 << 20;
constexpr int kMaxOutputs = 16;
constexpr uint32_t kMaxTopK = 1024;

constexpr std::pair<std::string_view, OutputKind> kKinds[] = {{"prediction", PREDICTION},
                                                              {"margin", MARGIN},
                                                              {"class", CLASS},
                                                              {"label", LABEL},
                                                              {"top_k", TOP_K}};

OutputKind KindOf(std::string_view name) {
  for (const auto& [known, kind] : kKinds) {
    if (known == name) return kind;
  }
  return OUTPUT_INVALID;
}

absl::Status CheckName(ModelDefinition* definition, const std::string& folder) {
  registry::ModelConfig* const config = &definition->config;
  if (config->name().empty()) config->set_name(folder);
  if (config->name() == folder) return absl::OkStatus();
  return definition->lines.Bad(
      "name", absl::StrCat("name is ", Printable(config->name()), ", and the folder is ", folder));
}

absl::Status CheckPlatform(ModelDefinition* definition) {
  registry::ModelConfig* const config = &definition->config;
  const char* const field = config->platform().empty() ? "backend" : "platform";
  if (config->platform().empty()) config->set_platform(config->backend());
  const std::string& platform = config->platform();
  if (platform.empty()) return definition->lines.Bad("platform", "platform is missing");
  if (!config->backend().empty() && config->backend() != platform) {
    return definition->lines.Bad(
        "platform", absl::StrCat("platform is ", Printable(platform), " and backend is ",
                                 Printable(config->backend())));
  }
  for (const char* known : {kXgboost, kLightgbm, kFil, kEnsemble}) {
    if (platform == known) return absl::OkStatus();
  }
  return definition->lines.Bad(
      field, absl::StrCat(field, " ", Printable(platform), " is not supported; there are ",
                          kXgboost, ", ", kLightgbm, ", ", kFil, " and ", kEnsemble));
}

// Fields that ask for nothing where they have their default.
absl::Status CheckDefaults(const ModelDefinition& definition) {
  const registry::ModelConfig& config = definition.config;
  struct Row {
    bool is_set;
    const char* path;
    const char* why;
  };
  const registry::ModelInput input =
      config.input_size() > 0 ? config.input(0) : registry::ModelInput();
  const registry::ModelDynamicBatching& batching = config.dynamic_batching();
  const Row rows[] = {
      {batching.preserve_ordering(), "dynamic_batching.preserve_ordering",
       "answers come when they are ready"},
      {batching.priority_levels() > 0, "dynamic_batching.priority_levels",
       "priorities are those of requests"},
      {config.model_transaction_policy().decoupled(), "model_transaction_policy.decoupled",
       "a request has one answer"},
      {input.is_shape_tensor(), "input[0].is_shape_tensor", "inputs are rows of numbers"},
      {input.allow_ragged_batch(), "input[0].allow_ragged_batch", "every row has all columns"},
      {input.optional(), "input[0].optional", "every request has the input"},
      {input.is_non_linear_format_io(), "input[0].is_non_linear_format_io",
       "inputs are rows of numbers"}};
  for (const Row& row : rows) {
    if (!row.is_set) continue;
    return definition.lines.Bad(row.path, absl::StrCat(row.path, " is not supported: ", row.why));
  }
  for (int i = 0; i < config.output_size(); ++i) {
    const registry::ModelOutput& output = config.output(i);
    if (!output.is_shape_tensor() && !output.is_non_linear_format_io()) continue;
    return definition.lines.Bad(
        absl::StrCat("output[", i, "].",
                     output.is_shape_tensor() ? "is_shape_tensor" : "is_non_linear_format_io"),
        absl::StrCat("output ", Printable(output.name()), ": outputs are rows of values"));
  }
  return absl::OkStatus();
}

absl::Status CheckBatch(const ModelDefinition& definition) {
  const int32_t size = definition.config.max_batch_size();
  if (size >= 1 && size <= kMaxBatchSize) return absl::OkStatus();
  return definition.lines.Bad(
      "max_batch_size",
      absl::StrCat("max_batch_size must be from 1 to ", kMaxBatchSize, ", and is ", size,
                   " (a tensor's first dimension is always the number of rows)"));
}

absl::Status CheckFiles(ModelDefinition* definition) {
  const std::string& name = definition->config.default_model_filename();
  if (!name.empty()) {
    if (definition->IsEnsemble()) {
      return definition->lines.Bad("default_model_filename",
                                   "default_model_filename: an ensemble has no file");
    }
    if (!IsPlainName(name)) {
      return definition->lines.Bad("default_model_filename",
                                   "default_model_filename must be the plain name of a file");
    }
    definition->files = {name};
  } else if (definition->fil.has_value()) {
    definition->files = definition->fil->files;
  } else if (definition->platform() == kXgboost) {
    definition->files = {"model.json", "model.ubj"};
  } else if (definition->platform() == kLightgbm) {
    definition->files = {"model.txt"};
  }
  return absl::OkStatus();
}

absl::Status CheckTensorNames(const ModelDefinition& definition) {
  const registry::ModelConfig& config = definition.config;
  const ConfigLines& lines = definition.lines;
  if (config.input_size() > 1) {
    return lines.Bad("input[1]", absl::StrCat("input: a model takes one tensor, and ",
                                              config.input_size(), " are declared"));
  }
  if (config.output_size() > kMaxOutputs) {
    return lines.Bad(absl::StrCat("output[", kMaxOutputs, "]"),
                     absl::StrCat("output: more than ", kMaxOutputs, " are declared"));
  }
  for (const registry::ModelInput& input : config.input()) {
    if (!IsTensorName(input.name())) {
      return lines.Bad("input[0].name", "input.name is missing or malformed");
    }
  }
  std::set<std::string> names;
  for (int i = 0; i < config.output_size(); ++i) {
    const registry::ModelOutput& output = config.output(i);
    const std::string path = absl::StrCat("output[", i, "].");
    if (!IsTensorName(output.name())) {
      return lines.Bad(path + "name", "output.name is missing or malformed");
    }
    if (!names.insert(output.name()).second) {
      return lines.Bad(path + "name", absl::StrCat("output ", output.name(), " stands twice"));
    }
    if (!output.label_filename().empty() && !IsPlainName(output.label_filename())) {
      return lines.Bad(path + "label_filename",
                       absl::StrCat("output ", output.name(),
                                    ": label_filename must be the plain name of a file"));
    }
  }
  return absl::OkStatus();
}

absl::Status TakeKind(const registry::ModelOutput& output, const std::string& path,
                      Parameters* parameters, ModelDefinition* definition) {
  const ConfigLines& lines = definition->lines;
  const std::string key = std::string(kKindPrefix) + output.name();
  const std::optional<std::string> named = parameters->Take(key);
  const OutputKind kind = KindOf(named.value_or(output.name()));
  const std::string what = absl::StrCat("output ", output.name());
  if (kind == OUTPUT_INVALID && named.has_value()) {
    return parameters->Bad(key, absl::StrCat(" is ", Printable(*named),
                                             ", and may be prediction, margin, class, label or "
                                             "top_k"));
  }
  if (kind == OUTPUT_INVALID) {
    return lines.Bad(path + ".name",
                     absl::StrCat(what,
                                  " is none of prediction, margin, class, label, top_k; say which "
                                  "by the parameter ",
                                  key));
  }
  if (!output.label_filename().empty() && kind != LABEL && kind != TOP_K) {
    return lines.Bad(path + ".label_filename",
                     what + ": label_filename belongs to a label or top_k");
  }
  if (output.label_filename().empty() && kind == LABEL) {
    return lines.Bad(path, what + ": label_filename is missing");
  }
  const auto& kinds = definition->output_kinds;
  if (std::find(kinds.begin(), kinds.end(), kind) != kinds.end()) {
    return lines.Bad(path + ".name", what + ": another output is of that kind");
  }
  definition->output_kinds.push_back(kind);
  return absl::OkStatus();
}

absl::Status TakeKinds(Parameters* parameters, ModelDefinition* definition) {
  for (int i = 0; i < definition->config.output_size(); ++i) {
    const absl::Status s = TakeKind(definition->config.output(i), absl::StrCat("output[", i, "]"),
                                    parameters, definition);
    if (!s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status TakeTopK(Parameters* parameters, ModelDefinition* definition) {
  const std::optional<std::string> text = parameters->Take("top_k");
  if (!text.has_value()) return absl::OkStatus();
  uint32_t k = 0;
  if (!absl::SimpleAtoi(*text, &k) || k < 1 || k > kMaxTopK) {
    return parameters->Bad("top_k", absl::StrCat(" must be from 1 to ", kMaxTopK));
  }
  const auto& kinds = definition->output_kinds;
  if (std::find(kinds.begin(), kinds.end(), TOP_K) == kinds.end()) {
    return parameters->Bad("top_k", ": there is no output of that kind");
  }
  definition->top_k = k;
  return absl::OkStatus();
}

absl::Status TakeFil(Parameters* parameters, ModelDefinition* definition) {
  absl::StatusOr<FilOptions> options = TakeFilOptions(parameters, &definition->unused);
  if (!options.ok()) return options.status();
  definition->fil = std::move(*options);
  if (absl::Status s = CheckFilOutputs(definition->lines, &definition->config); !s.ok()) return s;
  definition->output_kinds = {definition->fil->classes ? CLASS : PREDICTION};
  return absl::OkStatus();
}

// What the parameters say, by platform.
absl::Status TakeParameters(ModelDefinition* definition) {
  Parameters parameters(definition->config, definition->lines);
  if (definition->platform() == kFil) {
    if (absl::Status s = TakeFil(&parameters, definition); !s.ok()) return s;
  } else {
    if (absl::Status s = TakeKinds(&parameters, definition); !s.ok()) return s;
    if (absl::Status s = TakeTopK(&parameters, definition); !s.ok()) return s;
  }
  if (definition->IsEnsemble()) {
    if (absl::Status s = TakeEnsemble(&parameters, &definition->ensemble); !s.ok()) return s;
  }
  return parameters.CheckNoneLeft();
}

}  // namespace

absl::StatusOr<ModelDefinition> ParseModelDefinition(std::string_view text,
                                                     const std::string& folder) {
  MR_CHECK(IsPlainName(folder), "a model's name was checked when it was listed");
  absl::StatusOr<ConfigText> parsed = ParseConfigText(text);
  if (!parsed.ok()) return parsed.status();
  ModelDefinition definition;
  definition.config = std::move(parsed->config);
  definition.lines = std::move(parsed->lines);
  definition.unused = std::move(parsed->unused);
  if (absl::Status s = CheckName(&definition, folder); !s.ok()) return s;
  if (absl::Status s = CheckPlatform(&definition); !s.ok()) return s;
  if (absl::Status s = CheckDefaults(definition); !s.ok()) return s;
  if (absl::Status s = CheckBatch(definition); !s.ok()) return s;
  if (absl::Status s = CheckTensorNames(definition); !s.ok()) return s;
  if (absl::Status s = TakeParameters(&definition); !s.ok()) return s;
  if (absl::Status s = CheckFiles(&definition); !s.ok()) return s;
  return definition;
}

std::vector<int64_t> SelectVersions(const registry::ModelVersionPolicy& policy,
                                    const std::vector<int64_t>& present,
                                    const std::function<void(int64_t)>& missing) {
  using Policy = registry::ModelVersionPolicy;
  if (policy.policy_choice_case() == Policy::kAll) return present;
  if (policy.policy_choice_case() == Policy::kSpecific) {
    const std::set<int64_t> wanted(policy.specific().versions().begin(),
                                   policy.specific().versions().end());
    std::vector<int64_t> selected;
    for (int64_t version : wanted) {
      const bool there = std::binary_search(present.begin(), present.end(), version);
      there ? selected.push_back(version) : missing(version);
    }
    return selected;
  }
  // As in Triton: without a policy, or without a number in it, the highest version alone.
  const size_t count = std::max<size_t>(policy.latest().num_versions(), 1);
  return {present.end() - static_cast<ptrdiff_t>(std::min(count, present.size())), present.end()};
}

}  // namespace millrace
