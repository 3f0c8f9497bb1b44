// The ledger: what an ingress lane holds of each request in flight, for workers to read.
//
// Purpose: a worker learns from it, before it spends anything, whether a request is still wanted
//   (not answered, cancelled, expired or replayed elsewhere), and where its result goes.
// Who writes: the ingress lane. Who reads: every worker lane, each entry copied once.
// Invariants:
//   1. `live` names the sequence and the attempt that is wanted now; 0 in the low half: none.
//   2. An entry changes only while `live` says none: a reader that sees the same `live` before and
//      after its copy has one whole entry (a sequence lock with one writer, readers never block
//      it).
//   3. A reader that does not get its entry drops the work; the ingress lane does not wait for it.
// Nothing fails but Create and Open (ipc/memfd.h).
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>
#include <type_traits>

#include "absl/status/statusor.h"
#include "ipc/memfd.h"
#include "ipc/message.h"

namespace millrace {

inline constexpr size_t kMaxMembers = 8;

struct LedgerEntry {
  int64_t deadline_ns = 0;  // CLOCK_MONOTONIC
  uint16_t route = 0;       // of the model asked for; a member's own stands in its message
  uint8_t members = 1;      // parts that aggregation joins
  uint8_t priority = 0;
  uint32_t outputs = 0;   // 1 << OutputKind for each output wanted
  uint32_t features = 0;  // incarnations of the workers on this attempt's route; 0: not on it
  uint32_t aggregation = 0;
  uint32_t execution[kMaxMembers] = {};
  uint64_t trace[2] = {};
  // For a plan of faults alone (services/runtime/fault_plan.h); 0 without one.
  uint64_t fault_key = 0;  // chooses which faults befall it, at every stage alike
  uint32_t faults = 0;     // rules that it asked for, a bit each
  uint32_t reserved_word = 0;
  uint64_t reserved[4] = {};
};

// The order of a priority in every queue, the least first: 1 is the highest, 0 the default, in the
// middle: as the last of the numbered ones would be unfair to it.
inline constexpr uint32_t PriorityRank(uint8_t priority) { return priority == 0 ? 128 : priority; }

inline constexpr size_t kLedgerWords = sizeof(LedgerEntry) / 8;
static_assert(sizeof(LedgerEntry) == 120 && std::is_trivially_copyable_v<LedgerEntry>);

struct LedgerSlot {
  std::atomic<uint64_t> live;  // sequence << 32 | attempt << 8 | 1, or 0
  std::atomic<uint64_t> words[kLedgerWords];
};
static_assert(sizeof(LedgerSlot) == 128);

struct LedgerRegion {
  RegionHeader header;
  std::atomic<uint64_t> slot_count;
  alignas(kLineBytes) LedgerSlot slots[1];  // slot_count of them
};

inline constexpr RegionType kLedgerType = {
    RegionKind::kLedger, LayoutHash({sizeof(LedgerRegion), offsetof(LedgerRegion, slots),
                                     sizeof(LedgerEntry), offsetof(LedgerEntry, execution)})};

class Ledger {
 public:
  // `slots`: 1 to 65536.
  static absl::StatusOr<Ledger> Create(uint32_t incarnation, size_t slots);

  // Makes (slot, sequence, attempt) wanted, with this entry.
  void Open(const PartId& id, const LedgerEntry& entry);
  // Nothing of the slot is wanted any more.
  void Close(uint16_t slot);

  const Region& region() const { return region_; }

 private:
  Region region_;
};

class LedgerView {
 public:
  static absl::StatusOr<LedgerView> Open(int fd, uint32_t incarnation);
  // Copies the entry, if this slot, sequence and attempt is wanted now; `entry` holds nothing
  // sensible where this is false.
  bool FindInto(const PartId& id, LedgerEntry* entry) const;
  // Whether FindInto would give something now.
  bool Wants(const PartId& id) const;
  // Asks the processor for the slot's lines.
  void Prefetch(uint16_t slot) const {
    if (slot >= slot_count_) return;
    const LedgerSlot* const at = &region_.as<const LedgerRegion>()->slots[slot];
    __builtin_prefetch(at);
    __builtin_prefetch(reinterpret_cast<const std::byte*>(at) + 64);
  }

 private:
  Region region_;
  size_t slot_count_ = 0;
};

}  // namespace millrace
