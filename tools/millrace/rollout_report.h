// Rollouts as a page to read.
//
// Purpose: `millrace rollout status`, and what `millrace status` says of those that run.
// Who may call: any thread; nothing is kept. Invariants: what the answer does not hold is left out.
// What fails: INTERNAL where the answer has another form than the registry's.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"

namespace millrace {

// `reply`: of the verb "rollout". `running`: only those that have not ended, a line each.
absl::StatusOr<std::string> RenderRollouts(const nlohmann::json& reply, bool running);

}  // namespace millrace
