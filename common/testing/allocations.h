// Counts allocations: a test that links this sees each one that its thread makes.
//
// Purpose: "allocates nothing after warm-up" as something a test can hold. Who may call: any thread
//   of a test program; only what that thread allocates is counted.
// Invariants: 1. every call of malloc, calloc, realloc, aligned_alloc, memalign and posix_memalign
//   counts as one, whoever makes it: operator new, a library in C. 2. Under a sanitizer, whose
//   allocator must stay in its place, only the forms of operator new count.
// What fails: an allocation without memory, as its form demands.
#pragma once

#include <stdint.h>

namespace millrace {

uint64_t Allocations();

}  // namespace millrace
