// What a caller may do, as one bit each.
//
// Purpose: the word that routes, methods and keys have in common. Who may call: any thread.
#pragma once

#include <stdint.h>

namespace millrace {

// kScopeNone is of a route that anybody may use.
enum Scope : uint8_t { kScopeNone = 0, kScopeInfer = 1, kScopeAdmin = 2, kScopeMetrics = 4 };

}  // namespace millrace
