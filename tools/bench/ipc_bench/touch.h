// Writing and reading every byte of a payload, as fast as the machine can.
//
// Purpose: every subject pays for its bytes in the same way, and what arrives is checked in full.
// Who may call: any thread. Invariants:
//   1. FillBytes stores all bytes; CheckBytes reads all bytes, and its answer depends on each.
//   2. The widest moves that the processor has are chosen at run time; both are out of line, but
//      for payloads of one cache line, where a call would be most of the cost.
// Nothing fails. Sizes are multiples of 8.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cstddef>

namespace millrace::bench {

namespace internal {
extern void (*const fill_wide)(std::byte* to, size_t bytes, uint64_t stamp);
extern bool (*const check_wide)(const std::byte* from, size_t bytes, uint64_t stamp);
inline constexpr size_t kSmall = 64;
}  // namespace internal

// Every word becomes `stamp`.
inline void FillBytes(void* to, size_t bytes, uint64_t stamp) {
  auto* at = static_cast<std::byte*>(to);
  if (bytes > internal::kSmall) return internal::fill_wide(at, bytes, stamp);
  for (size_t i = 0; i < bytes; i += 8) memcpy(at + i, &stamp, 8);
}

// Whether every word is `stamp`.
inline bool CheckBytes(const void* from, size_t bytes, uint64_t stamp) {
  const auto* at = static_cast<const std::byte*>(from);
  if (bytes > internal::kSmall) return internal::check_wide(at, bytes, stamp);
  uint64_t difference = 0;
  for (size_t i = 0; i < bytes; i += 8) {
    uint64_t word;
    memcpy(&word, at + i, 8);
    difference |= word ^ stamp;
  }
  return difference == 0;
}

}  // namespace millrace::bench
