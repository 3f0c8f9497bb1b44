// One version of one model: from its files to its entry in the catalog.
//
// Purpose: bring repository, config, compiler, signature and view together.
// Who may call: one thread. Ownership: refers to the repository and options, which outlive it; a
//   loaded model owns its plan.
// Invariants: a loaded model is complete but for its route, its members' routes and `latest`.
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
#include "services/registry/repository.h"
#include "services/registry/signature.h"

namespace millrace {

struct LoaderOptions {
  CompileOptions compile;
  ServerLimits limits;
};

struct LoadedModel {
  Model model;
  ModelFacts facts;
  Fd plan;  // not of an ensemble
};

class ModelLoader {
 public:
  ModelLoader(const Repository& repository, const LoaderOptions& options)
      : repository_(repository), options_(options) {}

  absl::StatusOr<ModelDefinition> ReadDefinition(const std::string& folder) const;

  absl::StatusOr<LoadedModel> LoadPlain(const ModelDefinition& definition, int64_t version) const;

  // `members` in the order of the definition's.
  absl::StatusOr<LoadedModel> LoadEnsemble(const ModelDefinition& definition, int64_t version,
                                           const std::vector<EnsembleMember>& members) const;

 private:
  absl::StatusOr<Fd> OpenModelFile(const ModelDefinition& definition, int64_t version) const;
  absl::StatusOr<LoadedModel> Finish(const ModelDefinition& definition, int64_t version,
                                     ModelFacts facts) const;
  absl::Status ReadGoldenFile(const std::string& folder, Model* model) const;
  absl::Status AddView(const std::string& folder, Model* model) const;

  const Repository& repository_;
  const LoaderOptions& options_;
};

}  // namespace millrace
