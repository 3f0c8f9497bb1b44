#include "services/registry/weights.h"

namespace millrace {

ModelWeights WeightsOf(const BuiltModel& model) {
  using Policy = registry::ModelVersionPolicy;
  ModelWeights weights;
  weights.set_model(model.loaded.model.name());
  weights.set_version(model.loaded.model.version());
  weights.set_made_s(model.loaded.facts.weights_made_s);
  weights.set_of_file(model.loaded.facts.weights_of_file);
  weights.set_pinned(model.definition.config.version_policy().policy_choice_case() ==
                     Policy::kSpecific);
  return weights;
}

}  // namespace millrace
