// Which versions an ensemble is joined of.
// Who may call: the build (catalog_build.h). What fails: INVALID_ARGUMENT, with the member and why.
#pragma once

#include <vector>

#include "services/registry/catalog_builder.h"
#include "services/registry/ensemble.h"

namespace millrace {

// Each member is the version that a request without a version would get. `served`: so far;
// `catalog`: what failed, and what is left out.
absl::StatusOr<std::vector<EnsembleMember>> FindMembers(const EnsembleDefinition& ensemble,
                                                        const std::vector<BuiltModel>& served,
                                                        const Catalog& catalog);

}  // namespace millrace
