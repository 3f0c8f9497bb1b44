// What a model's config.pbtxt says, checked as far as it can be without the model.
//
// Purpose: text to a definition, or a sentence that names the field (and the line, where the text
//   itself is wrong). Who may call: any thread; nothing is kept.
// Invariants of a definition that is returned:
//   1. The platform is one that Millrace runs; names are checked (text.h); batch size is 1 or more.
//   2. Every output has a kind, and no two have the same (a prediction of backend fil may turn out
//      as scores, signature.h). 3. Every parameter was understood, or is in `unused`.
//   4. An ensemble has 2 to kMaxMembers distinct members, each with a weight, not all 0.
// What fails: INVALID_ARGUMENT; nothing that is written is ever ignored in silence.
#pragma once

#include <stdint.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "ipc/catalog.pb.h"
#include "services/registry/config_text.h"
#include "services/registry/ensemble_parameters.h"
#include "services/registry/fil_config.h"
#include "services/registry/model_config.pb.h"

namespace millrace {

inline constexpr char kXgboost[] = "xgboost";
inline constexpr char kLightgbm[] = "lightgbm";
inline constexpr char kEnsemble[] = "millrace_ensemble";

struct ModelDefinition {
  registry::ModelConfig config;          // with its name and platform filled in
  std::vector<OutputKind> output_kinds;  // one for each output of the config
  std::vector<std::string> files;  // names of the model's file, the first that exists is taken
  std::optional<uint32_t> top_k;
  EnsembleDefinition ensemble;    // of an ensemble only
  std::optional<FilOptions> fil;  // of backend fil only
  ConfigLines lines;
  std::vector<std::string> unused;  // options that change no answer, each with its line and why
  // Of the text, where it was read from a file.
  std::string config_sha256;
  size_t config_bytes = 0;

  const std::string& platform() const { return config.platform(); }
  // How the names of the formats begin that its file may have.
  std::string Format() const { return fil.has_value() ? fil->format : platform() + "_"; }
  bool IsEnsemble() const { return platform() == kEnsemble; }
};

// `folder` is the model's name in the repository.
absl::StatusOr<ModelDefinition> ParseModelDefinition(std::string_view text,
                                                     const std::string& folder);

// Which of the versions that are there the policy selects, ascending. A version that the policy
// names and that is not there is handed to `missing`.
std::vector<int64_t> SelectVersions(const registry::ModelVersionPolicy& policy,
                                    const std::vector<int64_t>& present,
                                    const std::function<void(int64_t)>& missing);

}  // namespace millrace
