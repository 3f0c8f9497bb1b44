// One version of one model: from its files to its entry in the catalog.
//
// Purpose: bring repository, config, compiler, signature and view together.
// Who may call: one thread. Ownership: refers to the repository and options, which outlive it; a
//   loaded model owns its plan.
// Invariants: 1. a loaded model is complete but for its route, its members' routes and `latest`.
//   2. A version with a manifest is loaded only where all of it holds (version_files.h,
//      version_check.h); nothing of such a version is parsed before its hashes and its signature
//      were found right.
// What fails: INVALID_ARGUMENT and others, always with a sentence for the operator; the rest of the
//   repository is not affected.
#pragma once

#include <stdint.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "services/registry/compile.h"
#include "services/registry/ensemble.h"
#include "services/registry/model_definition.h"
#include "services/registry/plan_budget.h"
#include "services/registry/repository.h"
#include "services/registry/signature.h"
#include "services/registry/version_files.h"

namespace millrace {

struct LoaderOptions {
  CompileOptions compile;
  ServerLimits limits;
  ManifestOptions manifest;
  // Not null: every fault of a version is put there, one a sentence, and a version whose model file
  // is what the manifest says is compiled in spite of other faults, to find more.
  std::vector<std::string>* tell = nullptr;
};

struct LoadedModel {
  Model model;
  ModelFacts facts;
  Fd plan;  // not of an ensemble
};

// What the model takes in each execution worker.
inline uint64_t BytesInWorker(const Model& model) {
  return model.plan_bytes() + model.worker_bytes();
}

class ModelLoader {
 public:
  ModelLoader(const Repository& repository, const LoaderOptions& options)
      : repository_(repository), options_(options) {}

  absl::StatusOr<ModelDefinition> ReadDefinition(const std::string& folder) const;
  // Logs what of it changes no answer and is left unused.
  static void TellUnused(const ModelDefinition& definition);

  // Of the version's model file; all 0: there is none.
  FileStamp StampOf(const ModelDefinition& definition, int64_t version) const;
  absl::StatusOr<LoadedModel> LoadPlain(const ModelDefinition& definition, int64_t version) const;

  // `members` in the order of the definition's.
  absl::StatusOr<LoadedModel> LoadEnsemble(const ModelDefinition& definition, int64_t version,
                                           const std::vector<EnsembleMember>& members) const;

 private:
  absl::StatusOr<LoadedModel> Compile(const ModelDefinition& definition, const VersionFiles& files,
                                      int64_t version) const;
  absl::StatusOr<LoadedModel> Join(const ModelDefinition& definition, const VersionFiles& files,
                                   int64_t version,
                                   const std::vector<EnsembleMember>& members) const;
  absl::StatusOr<LoadedModel> Finish(const ModelDefinition& definition, const VersionFiles& files,
                                     int64_t version, ModelFacts facts) const;
  // `load` between what can be found wrong before and after it.
  template <typename Load>
  absl::StatusOr<LoadedModel> Checked(const ModelDefinition& definition, int64_t version,
                                      Load load) const;
  absl::Status Refuse(const std::string& what, const std::vector<ConfigFault>& faults) const;

  const Repository& repository_;
  const LoaderOptions& options_;
};

}  // namespace millrace
