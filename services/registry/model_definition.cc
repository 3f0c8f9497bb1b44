#include "services/registry/model_definition.h"

#include <math.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/check.h"
#include "ipc/ledger.h"
#include "services/registry/config_text.h"
#include "services/registry/text.h"

namespace millrace {
namespace {

constexpr int32_t kMaxBatchSize = 1 << 20;
constexpr int kMaxOutputs = 16;
constexpr uint32_t kMaxTopK = 1024;
constexpr std::string_view kKindPrefix = "output_kind.";

constexpr std::pair<std::string_view, OutputKind> kKinds[] = {{"prediction", PREDICTION},
                                                              {"margin", MARGIN},
                                                              {"class", CLASS},
                                                              {"label", LABEL},
                                                              {"top_k", TOP_K}};

absl::Status Bad(const std::string& sentence) {
  return absl::InvalidArgumentError("config.pbtxt: " + sentence);
}

OutputKind KindOf(std::string_view name) {
  for (const auto& [known, kind] : kKinds) {
    if (known == name) return kind;
  }
  return OUTPUT_INVALID;
}

// The parameters of a config; what nobody asked for is left and named at the end.
class Parameters {
 public:
  explicit Parameters(const registry::ModelConfig& config) {
    for (const auto& [key, parameter] : config.parameters()) left_[key] = parameter.string_value();
  }

  std::optional<std::string> Take(const std::string& key) {
    const auto found = left_.find(key);
    if (found == left_.end()) return std::nullopt;
    std::string value = found->second;
    left_.erase(found);
    return value;
  }

  absl::Status CheckNoneLeft() const {
    if (left_.empty()) return absl::OkStatus();
    const std::string key = Printable(left_.begin()->first);
    if (left_.begin()->first.rfind(kKindPrefix, 0) == 0) {
      return Bad(absl::StrCat("parameters ", key, ": there is no output of that name"));
    }
    return Bad(absl::StrCat("parameters ", key, " is not supported for this platform"));
  }

 private:
  std::map<std::string, std::string> left_;
};

absl::Status CheckName(registry::ModelConfig* config, const std::string& folder) {
  if (config->name().empty()) config->set_name(folder);
  if (config->name() == folder) return absl::OkStatus();
  return Bad(absl::StrCat("name is ", Printable(config->name()), ", and the folder is ", folder));
}

absl::Status CheckPlatform(registry::ModelConfig* config) {
  if (config->platform().empty()) config->set_platform(config->backend());
  const std::string& platform = config->platform();
  if (platform.empty()) return Bad("platform is missing");
  if (!config->backend().empty() && config->backend() != platform) {
    return Bad(absl::StrCat("platform is ", Printable(platform), " and backend is ",
                            Printable(config->backend())));
  }
  if (platform == kXgboost || platform == kLightgbm || platform == kEnsemble) {
    return absl::OkStatus();
  }
  return Bad(absl::StrCat("platform ", Printable(platform), " is not supported; there are ",
                          kXgboost, ", ", kLightgbm, " and ", kEnsemble));
}

absl::Status CheckBatch(const registry::ModelConfig& config) {
  if (config.max_batch_size() >= 1 && config.max_batch_size() <= kMaxBatchSize) {
    return absl::OkStatus();
  }
  return Bad(absl::StrCat("max_batch_size must be from 1 to ", kMaxBatchSize, ", and is ",
                          config.max_batch_size(),
                          " (a tensor's first dimension is always the number of rows)"));
}

absl::Status CheckFiles(ModelDefinition* definition) {
  const std::string& name = definition->config.default_model_filename();
  if (!name.empty()) {
    if (definition->IsEnsemble()) return Bad("default_model_filename: an ensemble has no file");
    if (!IsPlainName(name)) return Bad("default_model_filename must be the plain name of a file");
    definition->files = {name};
  } else if (definition->platform() == kXgboost) {
    definition->files = {"model.json", "model.ubj"};
  } else if (definition->platform() == kLightgbm) {
    definition->files = {"model.txt"};
  }
  return absl::OkStatus();
}

absl::Status CheckTensorNames(const registry::ModelConfig& config) {
  if (config.input_size() > 1) {
    return Bad(absl::StrCat("input: a model takes one tensor, and ", config.input_size(),
                            " are declared"));
  }
  if (config.output_size() > kMaxOutputs) {
    return Bad(absl::StrCat("output: more than ", kMaxOutputs, " are declared"));
  }
  for (const registry::ModelInput& input : config.input()) {
    if (!IsTensorName(input.name())) return Bad("input.name is missing or malformed");
  }
  std::set<std::string> names;
  for (const registry::ModelOutput& output : config.output()) {
    if (!IsTensorName(output.name())) return Bad("output.name is missing or malformed");
    if (!names.insert(output.name()).second) {
      return Bad(absl::StrCat("output ", output.name(), " stands twice"));
    }
    if (!output.label_filename().empty() && !IsPlainName(output.label_filename())) {
      return Bad(absl::StrCat("output ", output.name(),
                              ": label_filename must be the plain name of a file"));
    }
  }
  return absl::OkStatus();
}

absl::Status TakeKinds(Parameters* parameters, ModelDefinition* definition) {
  for (const registry::ModelOutput& output : definition->config.output()) {
    const std::string key = std::string(kKindPrefix) + output.name();
    const std::optional<std::string> named = parameters->Take(key);
    const OutputKind kind = KindOf(named.value_or(output.name()));
    if (kind == OUTPUT_INVALID && named.has_value()) {
      return Bad(absl::StrCat("parameters ", key, " is ", Printable(*named),
                              ", and may be prediction, margin, class, label or top_k"));
    }
    if (kind == OUTPUT_INVALID) {
      return Bad(absl::StrCat("output ", output.name(),
                              " is none of prediction, margin, class, label, top_k; say which by "
                              "the parameter ",
                              key));
    }
    if (!output.label_filename().empty() && kind != LABEL && kind != TOP_K) {
      return Bad(
          absl::StrCat("output ", output.name(), ": label_filename belongs to a label or top_k"));
    }
    if (output.label_filename().empty() && kind == LABEL) {
      return Bad(absl::StrCat("output ", output.name(), ": label_filename is missing"));
    }
    const auto& kinds = definition->output_kinds;
    if (std::find(kinds.begin(), kinds.end(), kind) != kinds.end()) {
      return Bad(absl::StrCat("output ", output.name(), ": another output is of that kind"));
    }
    definition->output_kinds.push_back(kind);
  }
  return absl::OkStatus();
}

absl::Status TakeTopK(Parameters* parameters, ModelDefinition* definition) {
  const std::optional<std::string> text = parameters->Take("top_k");
  if (!text.has_value()) return absl::OkStatus();
  uint32_t k = 0;
  if (!absl::SimpleAtoi(*text, &k) || k < 1 || k > kMaxTopK) {
    return Bad(absl::StrCat("parameters top_k must be from 1 to ", kMaxTopK));
  }
  const auto& kinds = definition->output_kinds;
  if (std::find(kinds.begin(), kinds.end(), TOP_K) == kinds.end()) {
    return Bad("parameters top_k: there is no output of that kind");
  }
  definition->top_k = k;
  return absl::OkStatus();
}

std::vector<std::string> List(const std::string& text) {
  std::vector<std::string> parts;
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    parts.emplace_back(absl::StripAsciiWhitespace(part));
  }
  return parts;
}

absl::Status TakeMembers(Parameters* parameters, EnsembleDefinition* ensemble) {
  const std::optional<std::string> members = parameters->Take("members");
  if (!members.has_value())
    return Bad("parameters members is missing: names of two models or more");
  ensemble->members = List(*members);
  if (ensemble->members.size() < 2 || ensemble->members.size() > kMaxMembers) {
    return Bad(absl::StrCat("parameters members names ", ensemble->members.size(),
                            " models, and may name 2 to ", kMaxMembers));
  }
  std::set<std::string> seen;
  for (const std::string& member : ensemble->members) {
    if (!IsPlainName(member)) {
      return Bad(absl::StrCat("parameters members: '", Printable(member), "' is no model's name"));
    }
    if (!seen.insert(member).second) {
      return Bad(absl::StrCat("parameters members: ", member, " stands twice"));
    }
  }
  return absl::OkStatus();
}

absl::Status TakeWeights(Parameters* parameters, EnsembleDefinition* ensemble) {
  ensemble->weights.assign(ensemble->members.size(), 1.0);
  const std::optional<std::string> text = parameters->Take("weights");
  if (!text.has_value()) return absl::OkStatus();
  const std::vector<std::string> parts = List(*text);
  if (parts.size() != ensemble->members.size()) {
    return Bad(absl::StrCat("parameters weights has ", parts.size(), " numbers for ",
                            ensemble->members.size(), " members"));
  }
  double sum = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    double& weight = ensemble->weights[i];
    if (!absl::SimpleAtod(parts[i], &weight) || !isfinite(weight) || weight < 0) {
      return Bad(absl::StrCat("parameters weights: '", Printable(parts[i]),
                              "' is no number of 0 or more"));
    }
    sum += weight;
  }
  if (!(sum > 0) || !isfinite(sum)) {
    return Bad("parameters weights: their sum must be above 0 and finite");
  }
  return absl::OkStatus();
}

absl::Status TakeEnsemble(Parameters* parameters, EnsembleDefinition* ensemble) {
  if (absl::Status s = TakeMembers(parameters, ensemble); !s.ok()) return s;
  const std::optional<std::string> method = parameters->Take("method");
  if (!method.has_value()) return Bad("parameters method is missing: weighted_mean or vote");
  if (*method == "weighted_mean") {
    ensemble->combine = WEIGHTED_MEAN;
  } else if (*method == "vote") {
    ensemble->combine = VOTE;
  } else {
    return Bad(absl::StrCat("parameters method is ", Printable(*method),
                            ", and may be weighted_mean or vote"));
  }
  return TakeWeights(parameters, ensemble);
}

}  // namespace

absl::StatusOr<ModelDefinition> ParseModelDefinition(std::string_view text,
                                                     const std::string& folder) {
  MR_CHECK(IsPlainName(folder), "a model's name was checked when it was listed");
  absl::StatusOr<registry::ModelConfig> config = ParseConfigText(text);
  if (!config.ok()) return config.status();
  ModelDefinition definition;
  definition.config = std::move(*config);
  if (absl::Status s = CheckName(&definition.config, folder); !s.ok()) return s;
  if (absl::Status s = CheckPlatform(&definition.config); !s.ok()) return s;
  if (absl::Status s = CheckBatch(definition.config); !s.ok()) return s;
  if (absl::Status s = CheckFiles(&definition); !s.ok()) return s;
  if (absl::Status s = CheckTensorNames(definition.config); !s.ok()) return s;
  Parameters parameters(definition.config);
  if (absl::Status s = TakeKinds(&parameters, &definition); !s.ok()) return s;
  if (absl::Status s = TakeTopK(&parameters, &definition); !s.ok()) return s;
  if (definition.IsEnsemble()) {
    if (absl::Status s = TakeEnsemble(&parameters, &definition.ensemble); !s.ok()) return s;
  }
  if (absl::Status s = parameters.CheckNoneLeft(); !s.ok()) return s;
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
