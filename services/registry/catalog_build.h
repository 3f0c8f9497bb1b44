// One build of the catalog: what is read, what stays, and what stands in for what cannot be loaded.
//
// Purpose: the work of CatalogBuilder (catalog_builder.h), whose invariants it keeps.
// Who may call: CatalogBuilder. Ownership: nothing is kept.
// Invariants:
//   1. A version that is wanted and cannot be loaded is in `failed` with the reason, and is stood
//   in
//      for, in this order: by the same version as it was served before; where the policy is
//      `latest`, by the newest older version that loads; by what was served before, newest first.
//   2. What stands in is named behind that reason, and in the log.
//   3. A model whose folder is gone is gone: only what cannot be read or loaded is stood in for.
// What fails: where the repository itself cannot be read.
#pragma once

#include <set>
#include <string>

#include "services/registry/catalog_builder.h"
#include "services/registry/plan_budget.h"

namespace millrace {

// `reread` null: everything, else what it names alone. `next_route`: counted up. `evicts`: the
// versions that are left out from this catalog on, to make room.
absl::StatusOr<BuiltCatalog> BuildCatalog(const Repository& repository,
                                          const LoaderOptions& options, const BuiltCatalog& last,
                                          const Reread* reread, const LeftOut& left_out,
                                          PlanBudget* budget, uint32_t* next_route,
                                          std::set<VersionName>* evicts);

}  // namespace millrace
