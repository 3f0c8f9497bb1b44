// A link's memory: each end makes its half, checks the other's, and runs ipc/link_shm.h on both.
//
// Purpose: the ends of a link as a lane holds them. Who may call: Create and Attach the control
//   threads, before; then the lanes (ipc/link_shm.h). Ownership: each end owns the region of its
//   own half and maps the other's read-only.
// Invariants:
//   1. Both halves name each other's incarnation and the same count of slots: a power of two, from
//      kMinSlots to kSlots, for which the region is large enough.
// What fails: Create like regions, or for a count of slots that cannot be; Attach like regions, or
//   with FAILED_PRECONDITION for a half that does not fit ours.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>

#include "absl/status/statusor.h"
#include "ipc/link_shm.h"
#include "ipc/memfd.h"

namespace millrace {

inline constexpr uint64_t kMinSlots = 16;
inline constexpr uint64_t kSlots = 1024;

struct SlotsRegion {
  RegionHeader header;
  uint32_t consumer;  // incarnation of the other end, written before the region is handed on
  uint32_t slot_count;
  alignas(kLineBytes) LinkSlot<Hardware> slots[1];  // slot_count of them
};

struct ReturnsRegion {
  RegionHeader header;
  uint32_t producer;
  uint32_t slot_count;
  alignas(kLineBytes) std::atomic<uint64_t> taken;
  alignas(kLineBytes) std::atomic<uint64_t> returns[1];  // slot_count of them
};

inline constexpr size_t SlotsRegionBytes(uint64_t slots) {
  return offsetof(SlotsRegion, slots) + slots * sizeof(LinkSlot<Hardware>);
}
inline constexpr size_t ReturnsRegionBytes(uint64_t slots) {
  return offsetof(ReturnsRegion, returns) + slots * sizeof(uint64_t);
}

inline constexpr RegionType kSlotsType = {
    RegionKind::kLinkSlots, LayoutHash({offsetof(SlotsRegion, slots), kSlots,
                                        sizeof(LinkSlot<Hardware>), offsetof(Message, origin),
                                        offsetof(Message, block), kInlineBytes, kPublishedShift})};
inline constexpr RegionType kReturnsType = {
    RegionKind::kLinkReturns,
    LayoutHash({offsetof(ReturnsRegion, taken), offsetof(ReturnsRegion, returns), kSlots})};

class LinkProducer : public ProducerEnd<Hardware> {
 public:
  static absl::StatusOr<LinkProducer> Create(uint32_t producer, uint32_t consumer,
                                             uint64_t slots = kSlots);
  absl::Status Attach(int returns_fd);
  int fd() const { return region_.fd().get(); }

 private:
  LinkProducer(Region region, uint64_t slots);

  Region region_;
  Region theirs_;
};

class LinkConsumer : public ConsumerEnd<Hardware> {
 public:
  static absl::StatusOr<LinkConsumer> Create(uint32_t producer, uint32_t consumer,
                                             uint64_t slots = kSlots);
  absl::Status Attach(int slots_fd);
  int fd() const { return region_.fd().get(); }

 private:
  LinkConsumer(Region region, uint64_t slots);

  Region region_;
  Region theirs_;
};

}  // namespace millrace
