// What the stepped ends of a link say to each other: every byte of a message tells its number.
//
// Purpose: a message or a block that is torn, stale or another's is told from a whole one. Who may
//   call: ipc/testing/link_steps. Invariants: 1. No two messages of one Mix agree in any word of
//   their header. Nothing fails.
#pragma once

#include <stdint.h>
#include <string.h>

#include "absl/types/span.h"
#include "ipc/message.h"

namespace millrace {

enum class Mix { kBlocks, kInline, kBare, kMixed };

inline Mix MixOf(Mix mix, uint64_t n) { return mix == Mix::kMixed ? static_cast<Mix>(n % 3) : mix; }

inline bool PatternHasBlock(Mix mix, uint64_t n) { return MixOf(mix, n) == Mix::kBlocks; }
inline uint32_t PatternLength(uint64_t n) { return static_cast<uint32_t>(1 + n * 37 % 61); }
inline std::byte PatternByte(uint64_t n, size_t i) {
  return static_cast<std::byte>(n * 31 + i * 7 + 1);
}

// Its block is the sender's to fill in.
inline Message PatternMessage(Mix mix, uint64_t n) {
  Message message;
  message.kind = MixOf(mix, n) == Mix::kInline ? MessageKind::kInline : MessageKind::kData;
  message.flags = static_cast<uint8_t>(n % 16);
  message.code = static_cast<uint8_t>(n % (kInlineBytes + 1));
  message.route = static_cast<uint16_t>(n * 257 + 1);
  message.id = ~n * 0x0101010101010101ull;
  message.deadline_ns = static_cast<int64_t>(n * 0x1111111111111111ull + 1);
  message.origin = static_cast<uint32_t>(n * 0x01010101u + 2);
  message.published_ticks = static_cast<uint32_t>(n * 0x10101011u + 3);
  for (size_t i = 0; i < kInlineBytes; ++i) message.payload[i] = PatternByte(n, i + 5);
  if (message.kind == MessageKind::kData) message.block = {};
  return message;
}

inline bool IsPattern(Mix mix, uint64_t n, const Message& got) {
  Message expected = PatternMessage(mix, n);
  if (expected.kind == MessageKind::kData) expected.block.offset = got.block.offset;
  if (PatternHasBlock(mix, n)) expected.block.length = PatternLength(n);
  expected.slot_seq = got.slot_seq;
  return memcmp(&expected, &got, sizeof got) == 0;
}

inline void FillPattern(uint64_t n, std::byte* block) {
  for (size_t i = 0; i < PatternLength(n); ++i) block[i] = PatternByte(n, i);
}

inline bool IsPatternBlock(uint64_t n, absl::Span<const std::byte> block) {
  for (size_t i = 0; i < block.size(); ++i) {
    if (block[i] != PatternByte(n, i)) return false;
  }
  return block.size() == PatternLength(n);
}

}  // namespace millrace
