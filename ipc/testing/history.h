// What the processes of the kill torture did, in their own words, where a kill cannot take it away.
//
// Purpose: a journal for each incarnation, written by it alone and read by the broker when it is
//   dead; no part of what is tested. Who may call: Write its one writer; events() anybody behind
//   the writer's end. Ownership: the mapping is shared memory that the broker makes before it forks
//   and unmaps when it has read it.
// Invariants:
//   1. Events are only added. A writer that is killed leaves whole events.
//   2. What is about to become visible to a peer is written down before (kOffer, kFinished), and
//      once more behind it where that matters (kOffered, kWoke). All else is written down behind.
// What fails: a full journal ends the process.
#pragma once

#include <stdint.h>
#include <sys/mman.h>

#include <atomic>

#include "absl/types/span.h"
#include "common/check.h"
#include "common/clock.h"

namespace millrace {

enum class What : uint8_t {
  kOpen,       // owner: an entry exists, in this block or none
  kOffer,      // about to submit this to `peer`
  kOffered,    // Submit has returned
  kWoke,       // Wake of `peer` has returned
  kTook,       // taken from `peer`, with the digest of the bytes that came
  kFinished,   // about to return the block (if any) to `peer`; the digest of its bytes now
  kBack,       // `peer` returned this block
  kTakenBack,  // `peer` did not, and its link ends
  kDone,       // owner: the entry is answered
  kDeath,      // told that `peer` has ended
  kEnded,      // its links are ended; `value` blocks are still taken in the arena
  kSlept,      // parked until something woke it
  kRescue,     // nothing had, but the message number `value` of `peer` was there
  kFault,      // `peer` was found to break the rules, LinkFault `value`
  kQuiet,      // nothing is left to do; `value` blocks are still taken in the arena
};

struct Event {
  int64_t time_ns = 0;
  uint64_t entry = 0;  // the owner's incarnation << 32 | its number
  uint64_t digest = 0;
  uint64_t value = 0;
  uint32_t peer = 0;
  uint32_t offset = 0;  // of the block; 0: inline
  uint16_t length = 0;
  uint8_t attempt = 0;
  What what = What::kOpen;
};

// What one incarnation did.
struct History {
  uint32_t incarnation = 0;
  bool is_owner = false;
  int64_t killed_ns = 0;  // it was alive then, and not for long; 0: it ended by itself
  absl::Span<const Event> events;
};

class Journal {
 public:
  Journal() = delete;

  static constexpr uint64_t kMostEvents = 1 << 18;

  static Journal* Create() {
    void* map =
        mmap(nullptr, sizeof(Journal), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MR_CHECK(map != MAP_FAILED, "no memory for a journal");
    // Zero is how a journal begins; a constructor would touch every page of it.
    return static_cast<Journal*>(map);
  }
  static void Destroy(Journal* journal) { munmap(journal, sizeof(Journal)); }

  void Write(Event event) {
    if (event.time_ns == 0) event.time_ns = MonotonicNanos();
    // relaxed: the only writer.
    const uint64_t count = count_.load(std::memory_order_relaxed);
    MR_CHECK(count < kMostEvents, "a journal is full: the torture's rounds are too long");
    events_[count] = event;
    // release: meets the acquire in Journal::events.
    count_.store(count + 1, std::memory_order_release);
  }
  absl::Span<const Event> events() const {
    // acquire: meets the release in Journal::Write.
    return {events_, count_.load(std::memory_order_acquire)};
  }

 private:
  std::atomic<uint64_t> count_;
  Event events_[kMostEvents];
};

}  // namespace millrace
