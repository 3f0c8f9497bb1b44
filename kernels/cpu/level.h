// The vector levels of the CPU kernels, and which of them this processor has.
//
// Purpose: the same engines compiled for several instruction sets. Plain C++.
// Who may call: any thread. Two calls of margins() at once need two scratches.
// Invariants:
//   1. Every level gives the same bits; a row's do not depend on the rows beside it.
//   2. margins() allocates nothing, keeps no pointer and reads no row beyond its features.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>

#include "kernels/cpu/tables.h"

namespace millrace::cpu {

struct Level {
  const char* name;  // "avx512", "avx2", "portable"
  bool (*supported)();
  // rows[i]: `features` floats, or doubles where `wide_rows` (LightGBM only); out[i]: `groups`
  // margins; n: 1 to kBlockRows; scratch: ScratchBytes(), aligned to 64.
  void (*margins)(const ForestTables& tables, bool wide_rows, const void* const* rows,
                  void* const* out, size_t n, uint8_t* scratch);
};

size_t ScratchBytes(const ForestTables& tables);

// What this processor has, the fastest first; never empty.
std::span<const Level* const> SupportedLevels();

extern const Level kAvx512Level, kAvx2Level, kPortableLevel;

}  // namespace millrace::cpu
