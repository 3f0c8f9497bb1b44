// The trace ring: the newest records of what a lane did, for whoever asks in time.
//
// Purpose: a lane writes down each part that it worked on, whether somebody looks or not; the
//   observer finds there what it wants to know of the few requests that it shows.
// Who writes: one lane. Who reads: the observer, at any time; nobody is waited for.
// Ownership: a writer owns its region, a reader its mapping.
// Invariants:
//   1. A record is a slot of `words` atomics behind a sequence word, which is odd while the slot is
//      being written and names the record's number when it is whole: a reader that sees the same
//      even number before and after its copy has one whole record; else the record is lost.
//   2. Writing never waits, fails or allocates. A slot is used again after `slots` records: what
//   was
//      not read by then is lost, and the reader can count it.
//   3. What a reader takes is bounded, and is a peer's: it checks what it acts upon.
// What fails: Create and Open (ipc/memfd.h).
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <atomic>
#include <type_traits>

#include "absl/status/statusor.h"
#include "ipc/memfd.h"

namespace millrace {

struct TraceRegion {
  RegionHeader header;
  std::atomic<uint64_t> slots;
  std::atomic<uint64_t> words;                        // of a record
  alignas(kLineBytes) std::atomic<uint64_t> written;  // records, ever
  std::atomic<uint64_t> skipped;                      // that the lane did not write, to save itself
  // slots times: the sequence word, then `words`.
  alignas(kLineBytes) std::atomic<uint64_t> first[1];
};

inline constexpr RegionType kTraceType = {
    RegionKind::kTraces,
    LayoutHash({offsetof(TraceRegion, slots), offsetof(TraceRegion, written),
                offsetof(TraceRegion, skipped), offsetof(TraceRegion, first)})};

class TraceWriter {
 public:
  // `words` of a record: at least 1.
  static absl::StatusOr<TraceWriter> Create(uint32_t incarnation, size_t slots, size_t words);

  template <typename Record>
  void Write(const Record& record) {
    static_assert(std::is_trivially_copyable_v<Record> && sizeof(Record) % sizeof(uint64_t) == 0);
    WriteWords(reinterpret_cast<const std::byte*>(&record), sizeof(Record) / sizeof(uint64_t));
  }
  void Skip() {
    std::atomic<uint64_t>& skipped = region_.as<TraceRegion>()->skipped;
    // relaxed: one writer, a statistic; no read-modify-write is needed.
    skipped.store(skipped.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  const Region& region() const { return region_; }

 private:
  void WriteWords(const std::byte* from, size_t words);

  Region region_;
  size_t slots_ = 0, words_ = 0;
  uint64_t next_ = 0;
};

class TraceReader {
 public:
  static absl::StatusOr<TraceReader> Open(int fd, uint32_t incarnation, size_t words);

  // Records are numbered from 0: those of [First, End) may be there.
  uint64_t End() const;
  uint64_t First() const {
    const uint64_t end = End();
    return end > slots_ ? end - slots_ : 0;
  }
  // False: overwritten, or not written yet.
  template <typename Record>
  bool Read(uint64_t number, Record* record) const {
    static_assert(std::is_trivially_copyable_v<Record> && sizeof(Record) % sizeof(uint64_t) == 0);
    return sizeof(Record) / sizeof(uint64_t) == words_ &&
           ReadWords(number, reinterpret_cast<std::byte*>(record));
  }
  uint64_t skipped() const;
  size_t slots() const { return slots_; }

 private:
  bool ReadWords(uint64_t number, std::byte* to) const;

  Region region_;
  size_t slots_ = 0, words_ = 0;
};

}  // namespace millrace
