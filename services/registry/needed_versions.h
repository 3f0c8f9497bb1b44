// Versions that are not evicted, however long nobody asked for them.
//
// Purpose: what routes, rollbacks, rollouts and ensembles may send a request to at any time stays
//   loaded. Who may call: any thread; nothing is kept. Nothing fails.
#pragma once

#include <set>
#include <vector>

#include "ipc/catalog.pb.h"
#include "ipc/control.pb.h"
#include "ipc/routes.pb.h"
#include "services/registry/plan_budget.h"

namespace millrace {

// Of `catalog`: every version that one of `routes` (those in force, and those that a rollback goes
// back to) names as a target, a shadow or a fallback, the latest one where it names a model without
// a version or its own name is a model's; what `watched` names; members of ensembles.
std::set<VersionName> NeededVersions(const Catalog& catalog, const std::vector<NamedRoute>& routes,
                                     const WatchVersions& watched);

}  // namespace millrace
