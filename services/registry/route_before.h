// What the last build knows of a version: whether it is served already, and why it is not.
//
// Purpose: what a build finds unchanged keeps its route, so that nobody warms it again.
// Who may call: BuildCatalog. Ownership: nothing is kept.
// Invariants: 1. unchanged is: signature, view, members and plan, byte for byte.
// What fails: nothing; a plan that cannot be mapped is another one.
#pragma once

#include <stdint.h>

#include <string>

#include "services/registry/catalog_builder.h"

namespace millrace {

// 0: it is new.
uint32_t RouteBefore(const BuiltCatalog& last, const LoadedModel& loaded);

// Of a version that is not read again and is stood in for: its reason stays.
void KeepFailure(const Catalog& last, const std::string& name, int64_t version, Catalog* to);

// A version serves for one that failed: said in the log and, beside that one's reason, in `failed`.
void TellStandIn(const std::string& name, int64_t version, const char* what, Catalog* catalog);

}  // namespace millrace
