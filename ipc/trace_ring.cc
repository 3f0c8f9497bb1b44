#include "ipc/trace_ring.h"

#include "common/check.h"

namespace millrace {
namespace {

constexpr size_t kMaxSlots = 1 << 20, kMaxWords = 1 << 10;

size_t BytesOf(size_t slots, size_t words) {
  return offsetof(TraceRegion, first) + slots * (words + 1) * sizeof(uint64_t);
}

// What the sequence word says of record `number` when it is whole; one less while it is written.
constexpr uint64_t Whole(uint64_t number) { return 2 * number + 2; }

}  // namespace

absl::StatusOr<TraceWriter> TraceWriter::Create(uint32_t incarnation, size_t slots, size_t words) {
  MR_CHECK(slots > 0 && slots <= kMaxSlots && words > 0 && words <= kMaxWords,
           "a trace ring has slots and words, within bounds");
  absl::StatusOr<Region> region = Region::Create(kTraceType, incarnation, BytesOf(slots, words),
                                                 {.entering = Entering::kLater});
  if (!region.ok()) return region.status();
  auto* ring = region->as<TraceRegion>();
  // relaxed: nobody has the region yet.
  ring->slots.store(slots, std::memory_order_relaxed);
  ring->words.store(words, std::memory_order_relaxed);
  TraceWriter writer;
  writer.region_ = std::move(*region);
  writer.slots_ = slots;
  writer.words_ = words;
  return writer;
}

void TraceWriter::WriteWords(const std::byte* from, size_t words) {
  MR_CHECK(words == words_, "a ring has records of one size");
  auto* ring = region_.as<TraceRegion>();
  std::atomic<uint64_t>* const slot = ring->first + next_ % slots_ * (words_ + 1);
  // relaxed: the fence below puts it before the words.
  slot[0].store(Whole(next_) - 1, std::memory_order_relaxed);
  // release: meets the acquire fence in TraceReader::ReadWords: who sees a word sees the odd
  // number.
  std::atomic_thread_fence(std::memory_order_release);
  for (size_t i = 0; i < words; ++i) {
    uint64_t word;
    memcpy(&word, from + i * sizeof word, sizeof word);
    // relaxed: published by the release below.
    slot[i + 1].store(word, std::memory_order_relaxed);
  }
  // release: meets the acquire in TraceReader::ReadWords.
  slot[0].store(Whole(next_), std::memory_order_release);
  ++next_;
  // release: meets the acquire in TraceReader::End; the slot is whole.
  ring->written.store(next_, std::memory_order_release);
}

absl::StatusOr<TraceReader> TraceReader::Open(int fd, uint32_t incarnation, size_t words) {
  absl::StatusOr<Region> region =
      Region::Open(fd, kTraceType, incarnation, sizeof(TraceRegion), Entering::kLater);
  if (!region.ok()) return region.status();
  const auto* ring = region->as<const TraceRegion>();
  // relaxed: written before the descriptor was handed over, and checked here.
  const uint64_t slots = ring->slots.load(std::memory_order_relaxed);
  const uint64_t has = ring->words.load(std::memory_order_relaxed);
  if (has != words || slots == 0 || slots > kMaxSlots || BytesOf(slots, words) > region->size()) {
    return absl::FailedPreconditionError("a trace ring that does not fit its size");
  }
  TraceReader reader;
  reader.region_ = std::move(*region);
  reader.slots_ = slots;
  reader.words_ = words;
  return reader;
}

uint64_t TraceReader::End() const {
  // acquire: meets the release in TraceWriter::WriteWords.
  return region_.as<const TraceRegion>()->written.load(std::memory_order_acquire);
}

uint64_t TraceReader::skipped() const {
  // relaxed: a statistic, read alone.
  return region_.as<const TraceRegion>()->skipped.load(std::memory_order_relaxed);
}

bool TraceReader::ReadWords(uint64_t number, std::byte* to) const {
  const std::atomic<uint64_t>* const slot =
      region_.as<const TraceRegion>()->first + number % slots_ * (words_ + 1);
  // acquire: meets the release in TraceWriter::WriteWords.
  if (slot[0].load(std::memory_order_acquire) != Whole(number)) return false;
  for (size_t i = 0; i < words_; ++i) {
    // relaxed: a word of a later record shows by the sequence, below.
    const uint64_t word = slot[i + 1].load(std::memory_order_relaxed);
    memcpy(to + i * sizeof word, &word, sizeof word);
  }
  // acquire: meets the release fence in TraceWriter::WriteWords.
  std::atomic_thread_fence(std::memory_order_acquire);
  // relaxed: ordered by the fence.
  return slot[0].load(std::memory_order_relaxed) == Whole(number);
}

}  // namespace millrace
