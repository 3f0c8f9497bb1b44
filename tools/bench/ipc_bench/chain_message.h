// What travels round a chain of processes, and how the sink knows that every stage saw it.
//
// Purpose: the same message for every subject: the 64 bytes of ipc/message.h, its payload inline.
// Who may call: the processes of a chain. Invariants:
//   1. A stage's Mark depends on the stage, the sequence and the mark before it, so that a message
//      that skipped a stage, met two in the wrong order, or was changed has another mark.
//   2. The work of a stage is arithmetic that waits for itself: no clock, no memory.
// Nothing fails.
#pragma once

#include <stdint.h>
#include <string.h>

#include "common/clock.h"
#include "ipc/message.h"

namespace millrace::bench {

inline constexpr int kChainProcesses = 5;  // the source, which is the sink too, and four stages

inline uint64_t MixMark(uint64_t mark, uint64_t stage) {
  mark = (mark ^ (stage + 1)) * 0x9e3779b97f4a7c15ull;
  return mark ^ (mark >> 29);
}

// What an inline message has room for.
struct ChainPayload {
  uint64_t mark;
  uint64_t echo;  // ~sequence, which no stage touches
  uint32_t work_loops;
  uint32_t unused = 0;
};
static_assert(sizeof(ChainPayload) <= kInlineBytes);

inline ChainPayload PayloadOf(const Message& message) {
  ChainPayload payload;
  memcpy(&payload, message.payload, sizeof(payload));
  return payload;
}

inline void SetPayload(Message* message, const ChainPayload& payload) {
  memcpy(message->payload, &payload, sizeof(payload));
}

// A request as the source makes it.
inline Message MakeRequest(uint64_t sequence, uint32_t work_loops) {
  Message message;
  message.kind = MessageKind::kInline;
  message.code = sizeof(ChainPayload);
  message.id = sequence;
  SetPayload(&message, {MixMark(sequence, 0), ~sequence, work_loops});
  return message;
}

inline void MarkStage(Message* message, uint64_t stage) {
  ChainPayload payload = PayloadOf(*message);
  payload.mark = MixMark(payload.mark, stage);
  SetPayload(message, payload);
}

// The message that comes back for `sequence`, whole and from stage to stage.
inline bool IsAnswer(const Message& message, uint64_t sequence, uint32_t work_loops) {
  uint64_t mark = MixMark(sequence, 0);
  for (uint64_t stage = 1; stage < kChainProcesses; ++stage) mark = MixMark(mark, stage);
  const ChainPayload payload = PayloadOf(message);
  return message.id == sequence && message.code == sizeof(ChainPayload) &&
         payload.work_loops == work_loops && payload.mark == mark && payload.echo == ~sequence;
}

inline void DoWork(uint32_t loops) {
  uint64_t x = loops;
  for (uint32_t i = 0; i < loops; ++i) {
    x = x * 0xd1342543de82ef95ull + 1;
    asm volatile("" : "+r"(x));
  }
}

// Loops that take `ns`: the fastest of many tries, since what disturbs only makes slower.
inline uint32_t CalibrateWork(int64_t ns) {
  constexpr uint32_t kLoops = 20'000;
  int64_t best_ns = INT64_MAX;
  for (int i = 0; i < 200; ++i) {
    const int64_t begin_ns = MonotonicNanos();
    DoWork(kLoops);
    const int64_t took_ns = MonotonicNanos() - begin_ns;
    if (took_ns < best_ns) best_ns = took_ns;
  }
  return static_cast<uint32_t>(ns * kLoops / best_ns);
}

}  // namespace millrace::bench
