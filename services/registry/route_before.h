// Whether a version that was loaded is what is served already.
//
// Purpose: what a build finds unchanged keeps its route, so that nobody warms it again.
// Who may call: BuildCatalog. Ownership: nothing is kept.
// Invariants: 1. unchanged is: signature, view, members and plan, byte for byte.
// What fails: nothing; a plan that cannot be mapped is another one.
#pragma once

#include "services/registry/catalog_builder.h"

namespace millrace {

// 0: it is new.
uint32_t RouteBefore(const BuiltCatalog& last, const LoadedModel& loaded);

}  // namespace millrace
