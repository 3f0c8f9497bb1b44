// What an ensemble takes and makes follows from its members.
//
// Purpose: hold the members of an ensemble against each other and derive its facts.
// Who may call: any thread; nothing is kept. Invariants: every member takes the ensemble's input
//   as it is, and its prediction can be combined column by column.
// What fails: INVALID_ARGUMENT with a sentence that names the member.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "services/registry/signature.h"

namespace millrace {

struct EnsembleMember {
  const Model* model = nullptr;  // as the catalog has it
  const ModelFacts* facts = nullptr;
};

// `members` in the order of the definition's.
absl::StatusOr<ModelFacts> CombineFacts(const EnsembleDefinition& definition,
                                        const std::vector<EnsembleMember>& members);

}  // namespace millrace
