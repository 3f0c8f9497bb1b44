// The roster: which lanes exist, and which may be named in a route.
//
// Purpose: the supervisor tells every lane of births and deaths, and how it shall wait, by one
//   store; a lane acts on it within a duty cycle. Who writes: the supervisor's main thread. Who
//   reads: every lane.
// Invariants:
//   1. Generations only grow. Generation g lies in ring place g % kDepth and is never changed while
//      g > current - (kDepth - 1).
//   2. A reader copies the snapshot and then checks that the place was not reused meanwhile; what
//      Read returns is one whole generation.
//   3. A lane that is not in the newest snapshot is dead: its links are drained, then ended.
// Nothing fails for the writer beyond its start; a reader refuses an entry with unknown values.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>
#include <type_traits>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ipc/idler.h"
#include "ipc/memfd.h"
#include "ipc/topology.h"

namespace millrace {

inline constexpr size_t kMaxLanes = 64;

enum class RosterState : uint8_t {
  kStarting = 0,  // exists; no route may name it yet
  kReady = 1,     // linked with every peer: routes may name it
  kLeaving = 2,   // no new route may name it; what it has, it finishes
};

inline constexpr int kRosterBits = 4;

struct RosterEntry {
  uint32_t incarnation = 0;
  Stage stage = Stage::kNone;
  uint8_t index = 0;
  uint8_t lane = 0;
  // Two values of four bits in the last byte.
  RosterState state : kRosterBits = RosterState::kStarting;
  WaitMode wait : kRosterBits = WaitMode::kYield;

  RosterEntry() = default;
  RosterEntry(uint32_t incarnation, Stage stage, uint8_t index, uint8_t lane, RosterState state,
              WaitMode wait = WaitMode::kYield)
      : incarnation(incarnation),
        stage(stage),
        index(index),
        lane(lane),
        state(state),
        wait(wait) {}

  bool operator==(const RosterEntry&) const = default;
};
static_assert(sizeof(RosterEntry) == 8 && std::is_trivially_copyable_v<RosterEntry>);

struct RosterSnapshot {
  uint64_t generation = 0;
  uint32_t count = 0;
  RosterEntry entries[kMaxLanes];

  absl::Span<const RosterEntry> lanes() const { return {entries, count}; }
  const RosterEntry* Find(uint32_t incarnation) const {
    for (const RosterEntry& e : lanes()) {
      if (e.incarnation == incarnation) return &e;
    }
    return nullptr;
  }
};

struct RosterRegion {
  static constexpr size_t kDepth = 8;
  struct Place {
    std::atomic<uint64_t> count;
    std::atomic<uint64_t> entries[kMaxLanes];  // a RosterEntry each
  };
  RegionHeader header;
  alignas(kLineBytes) std::atomic<uint64_t> current;
  alignas(kLineBytes) Place places[kDepth];
};

inline constexpr RegionType kRosterType = {
    RegionKind::kRoster, LayoutHash({sizeof(RosterRegion), offsetof(RosterRegion, current),
                                     offsetof(RosterRegion, places), RosterRegion::kDepth,
                                     kMaxLanes, kRosterBits, kWaitModeCount})};

class RosterWriter {
 public:
  static absl::StatusOr<RosterWriter> Create(uint64_t first_generation);
  // At most kMaxLanes entries. Returns the generation.
  uint64_t Publish(absl::Span<const RosterEntry> lanes);
  int fd() const { return region_.fd().get(); }
  uint64_t generation() const { return generation_; }

 private:
  Region region_;
  uint64_t generation_ = 0;
};

class RosterReader {
 public:
  static absl::StatusOr<RosterReader> Open(int fd);
  // One load; what Read will give at least. Cheap enough for each duty cycle.
  uint64_t generation() const;
  // FAILED_PRECONDITION where the snapshot cannot be one of ours.
  absl::StatusOr<RosterSnapshot> Read() const;

 private:
  Region region_;
};

}  // namespace millrace
