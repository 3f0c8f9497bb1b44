// The route of one step of a rollout.
//
// Purpose: from the route as it was to the one with a share of its requests on the candidate, and
//   copies beside it. Who may call: any thread.
// Invariants: 1. Only the rule that takes every request (the last without conditions, made where
//   there is none) is changed, and of it targets and shadows. 2. Shadows to other versions stay.
// What fails: FromOf, with a sentence.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "ipc/routes.pb.h"
#include "services/registry/rollout/plan.h"

namespace millrace {

// Who gets all requests that no condition takes elsewhere; nothing: nobody is named, so that it is
// the latest version. FAILED_PRECONDITION: they are split already.
absl::StatusOr<std::optional<RouteTarget>> FromOf(const std::optional<NamedRoute>& route);

// `parts` of 10,000 go to `plan.to`.
NamedRoute StepRoute(const RolloutPlan& plan, const std::optional<NamedRoute>& before,
                     uint32_t parts);

}  // namespace millrace
