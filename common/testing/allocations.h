// Counts allocations: a test that links this sees each `new` of its thread.
//
// Purpose: "allocates nothing after warm-up" as something a test can hold. Who may call: any thread
//   of a test program; only what that thread allocates is counted. Invariant: every form of
//   operator new counts; malloc called directly does not.
// What fails: an allocation without memory, with std::bad_alloc or null as its form demands.
#pragma once

#include <stdint.h>

namespace millrace {

uint64_t Allocations();

}  // namespace millrace
