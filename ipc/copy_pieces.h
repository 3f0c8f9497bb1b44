// A copy of what was just stored in pieces.
//
// Purpose: a processor hands what was just stored on to a load only if one store holds all of it.
//   A wider load waits until the pieces have reached the cache, behind whatever was stored before
//   them: some 20 cycles, and 0.1 us and more where one of those is another core's line. Messages
//   and packs are made field by field and copied at once, so they are copied by their pieces.
// Who may call: any thread. Invariants: 1. each word is read once, by itself, whatever the compiler
//   would rather do. Nothing fails.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace millrace {

// `count` words of four bytes, none of them stored in parts of it.
inline void CopyPieces(void* to, const void* from, size_t count) {
  auto* const into = static_cast<unsigned char*>(to);
  const auto* const out_of = static_cast<const unsigned char*>(from);
  for (size_t i = 0; i < count; ++i) {
    uint32_t word;
    memcpy(&word, out_of + i * sizeof word, sizeof word);
    asm("" : "+r"(word));  // the compiler may not join them
    memcpy(into + i * sizeof word, &word, sizeof word);
  }
}

}  // namespace millrace
