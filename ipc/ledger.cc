#include "ipc/ledger.h"

#include <string.h>

#include "common/check.h"
#include "ipc/copy_pieces.h"

namespace millrace {
namespace {

size_t RegionBytes(size_t slots) {
  return offsetof(LedgerRegion, slots) + slots * sizeof(LedgerSlot);
}

// A word of an entry that was just made, of the pieces that it was made of (ipc/copy_pieces.h).
uint64_t WordOf(const LedgerEntry& entry, size_t i) {
  constexpr size_t kFine = offsetof(LedgerEntry, route) / sizeof(uint64_t);
  static_assert(offsetof(LedgerEntry, members) == kFine * 8 + 2 &&
                offsetof(LedgerEntry, priority) == kFine * 8 + 3);
  uint32_t halves[2];
  CopyPieces(halves, reinterpret_cast<const std::byte*>(&entry) + i * sizeof(uint64_t), 2);
  if (i == kFine) {
    uint32_t route = entry.route, members = entry.members, priority = entry.priority;
    asm("" : "+r"(route), "+r"(members), "+r"(priority));
    halves[0] = route | members << 16 | priority << 24;
  }
  return halves[0] | uint64_t{halves[1]} << 32;
}

uint64_t LiveWord(const PartId& id) { return uint64_t{id.sequence} << 32 | id.attempt << 8 | 1; }

}  // namespace

absl::StatusOr<Ledger> Ledger::Create(uint32_t incarnation, size_t slots) {
  MR_CHECK(slots > 0 && slots <= 65536, "a ledger slot has 16 bits");
  absl::StatusOr<Region> region = Region::Create(kLedgerType, incarnation, RegionBytes(slots));
  if (!region.ok()) return region.status();
  Ledger ledger;
  ledger.region_ = std::move(*region);
  // relaxed: written before the region is handed to anybody.
  ledger.region_.as<LedgerRegion>()->slot_count.store(slots, std::memory_order_relaxed);
  return ledger;
}

void Ledger::Open(const PartId& id, const LedgerEntry& entry) {
  LedgerSlot& slot = region_.as<LedgerRegion>()->slots[id.slot];
  Close(id.slot);
  // release fence: meets the acquire fence in LedgerView::FindInto; a reader that saw one of the
  // words below also sees `live` closed.
  std::atomic_thread_fence(std::memory_order_release);
  for (size_t i = 0; i < kLedgerWords; ++i) {
    // relaxed: between the fence above and the release below.
    slot.words[i].store(WordOf(entry, i), std::memory_order_relaxed);
  }
  // release: meets the acquire in LedgerView::FindInto.
  slot.live.store(LiveWord(id), std::memory_order_release);
}

void Ledger::Close(uint16_t slot) {
  // relaxed: a worker that sees it late does work in vain, no more.
  region_.as<LedgerRegion>()->slots[slot].live.store(0, std::memory_order_relaxed);
}

absl::StatusOr<LedgerView> LedgerView::Open(int fd, uint32_t incarnation) {
  absl::StatusOr<Region> region = Region::Open(fd, kLedgerType, incarnation, sizeof(LedgerRegion));
  if (!region.ok()) return region.status();
  LedgerView view;
  // relaxed: written before the region was handed on; copied once and checked.
  view.slot_count_ = region->as<const LedgerRegion>()->slot_count.load(std::memory_order_relaxed);
  if (view.slot_count_ > 65536 || RegionBytes(view.slot_count_) > region->size()) {
    return absl::FailedPreconditionError("ledger: more slots than the region holds");
  }
  view.region_ = std::move(*region);
  return view;
}

bool LedgerView::Wants(const PartId& id) const {
  if (id.slot >= slot_count_) return false;
  // relaxed: a word by itself; nothing else is read by its value.
  const uint64_t live =
      region_.as<const LedgerRegion>()->slots[id.slot].live.load(std::memory_order_relaxed);
  return live == LiveWord(id);
}

bool LedgerView::FindInto(const PartId& id, LedgerEntry* entry) const {
  if (id.slot >= slot_count_) return false;
  const LedgerSlot& slot = region_.as<const LedgerRegion>()->slots[id.slot];
  // acquire: meets the release in Ledger::Open.
  if (slot.live.load(std::memory_order_acquire) != LiveWord(id)) return false;
  auto* const to = reinterpret_cast<std::byte*>(entry);
  for (size_t i = 0; i < kLedgerWords; ++i) {
    // relaxed: between the acquire above and the fence below.
    const uint64_t word = slot.words[i].load(std::memory_order_relaxed);
    memcpy(to + i * sizeof word, &word, sizeof word);
  }
  // acquire fence: meets the release fence in Ledger::Open.
  std::atomic_thread_fence(std::memory_order_acquire);
  // relaxed: ordered by the fence.
  return slot.live.load(std::memory_order_relaxed) == LiveWord(id);
}

}  // namespace millrace
