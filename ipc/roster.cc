#include "ipc/roster.h"

#include <bit>

#include "common/check.h"

namespace millrace {

absl::StatusOr<RosterWriter> RosterWriter::Create(uint64_t first_generation) {
  absl::StatusOr<Region> region = Region::Create(kRosterType, 0, sizeof(RosterRegion));
  if (!region.ok()) return region.status();
  RosterWriter writer;
  writer.region_ = std::move(*region);
  writer.generation_ = first_generation;
  writer.Publish({});
  return writer;
}

uint64_t RosterWriter::Publish(absl::Span<const RosterEntry> lanes) {
  MR_CHECK(lanes.size() <= kMaxLanes, "the roster is full");
  auto* shared = region_.as<RosterRegion>();
  const uint64_t next = generation_ + 1;
  RosterRegion::Place& place = shared->places[next % RosterRegion::kDepth];
  // release fence: meets the acquire fence in RosterReader::Read, so that whoever sees a word of
  // this place changed also sees that `current` had left it behind.
  std::atomic_thread_fence(std::memory_order_release);
  // relaxed: the place is not current; the release of `current` below publishes it.
  place.count.store(lanes.size(), std::memory_order_relaxed);
  for (size_t i = 0; i < lanes.size(); ++i) {
    // relaxed: as above.
    place.entries[i].store(std::bit_cast<uint64_t>(lanes[i]), std::memory_order_relaxed);
  }
  // release: meets the acquire in RosterReader::Read.
  shared->current.store(next, std::memory_order_release);
  generation_ = next;
  return next;
}

absl::StatusOr<RosterReader> RosterReader::Open(int fd) {
  absl::StatusOr<Region> region = Region::Open(fd, kRosterType, 0, sizeof(RosterRegion));
  if (!region.ok()) return region.status();
  RosterReader reader;
  reader.region_ = std::move(*region);
  return reader;
}

uint64_t RosterReader::generation() const {
  // relaxed: only a hint to read; Read takes the acquire.
  return region_.as<const RosterRegion>()->current.load(std::memory_order_relaxed);
}

absl::StatusOr<RosterSnapshot> RosterReader::Read() const {
  const auto* shared = region_.as<const RosterRegion>();
  while (true) {
    RosterSnapshot snapshot;
    // acquire: meets the release in RosterWriter::Publish.
    snapshot.generation = shared->current.load(std::memory_order_acquire);
    const RosterRegion::Place& place = shared->places[snapshot.generation % RosterRegion::kDepth];
    // relaxed: ordered by the acquire above; a place reused meanwhile is seen below.
    const uint64_t count = place.count.load(std::memory_order_relaxed);
    if (count <= kMaxLanes) {
      snapshot.count = static_cast<uint32_t>(count);
      for (size_t i = 0; i < count; ++i) {
        // relaxed: as above.
        const uint64_t word = place.entries[i].load(std::memory_order_relaxed);
        snapshot.entries[i] = std::bit_cast<RosterEntry>(word);
      }
    }
    // acquire fence: meets the release fence of a later RosterWriter::Publish, so that a place
    // whose words were overwritten is recognised by `current` having moved on.
    std::atomic_thread_fence(std::memory_order_acquire);
    // relaxed: ordered by the fence.
    const uint64_t now = shared->current.load(std::memory_order_relaxed);
    if (now - snapshot.generation >= RosterRegion::kDepth - 1) continue;
    if (count > kMaxLanes) return absl::FailedPreconditionError("roster: too many lanes");
    for (const RosterEntry& e : snapshot.lanes()) {
      if (static_cast<size_t>(e.stage) >= kStageCount || e.state > RosterState::kLeaving ||
          static_cast<size_t>(e.wait) >= kWaitModeCount) {
        return absl::FailedPreconditionError("roster: unknown stage, state or way to wait");
      }
    }
    return snapshot;
  }
}

}  // namespace millrace
