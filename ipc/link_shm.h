// A link: one direction between two lanes, in two halves with one writer each.
//
// Purpose: hand messages from a producer to a consumer, and blocks back, without a lock.
// Who may call: LinkProducer the producing lane, LinkConsumer the consuming lane; Create and Attach
//   their control threads, before. Ownership: each end owns the region of its own half.
// Layout: the producer's half holds kSlots slots of one cache line; message n lies in slot
//   n % kSlots and is there once the slot's seq is n + 1. The consumer's half holds `taken` (how
//   many messages it has taken) and a ring of returned blocks, each word seq << 32 | offset.
// Invariants:
//   1. A slot is written only when the consumer has taken what was in it.
//   2. A block is lent for each message that names one, and returned once, in any order; at most
//      kSlots blocks are lent at a time, so that the return ring cannot overflow.
//   3. What the other end writes is copied once and checked. A value that cannot be right is a
//      Fault: the link is dead from then on and the caller reports the peer.
//   4. A producer killed at any instruction leaves at worst a slot without its seq: invisible.
// What fails: Create and Attach like regions; Take and CollectReturns with kFault.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ipc/memfd.h"
#include "ipc/message.h"

namespace millrace {

inline constexpr uint64_t kSlots = 256;

struct LinkSlot {
  std::atomic<uint32_t> seq;
  uint8_t kind;
  uint8_t code;
  uint16_t route;
  uint64_t id;
  int64_t deadline_ns;
  uint32_t origin;
  uint32_t flags;
  int64_t published_ns;
  BlockRef block;
  uint64_t reserved[2];
};
static_assert(sizeof(LinkSlot) == 64 && offsetof(LinkSlot, seq) == 0);

struct SlotsRegion {
  RegionHeader header;
  uint32_t consumer;  // incarnation of the other end, written before the region is handed on
  alignas(kLineBytes) LinkSlot slots[kSlots];
};

struct ReturnsRegion {
  RegionHeader header;
  uint32_t producer;
  alignas(kLineBytes) std::atomic<uint64_t> taken;
  alignas(kLineBytes) std::atomic<uint64_t> returns[kSlots];
};

inline constexpr RegionType kSlotsType = {
    RegionKind::kLinkSlots, LayoutHash({sizeof(SlotsRegion), offsetof(SlotsRegion, slots), kSlots,
                                        sizeof(LinkSlot), offsetof(LinkSlot, block)})};
inline constexpr RegionType kReturnsType = {
    RegionKind::kLinkReturns, LayoutHash({sizeof(ReturnsRegion), offsetof(ReturnsRegion, taken),
                                          offsetof(ReturnsRegion, returns), kSlots})};

enum class LinkResult { kEmpty, kOk, kFault };

class LinkProducer {
 public:
  static absl::StatusOr<LinkProducer> Create(uint32_t producer, uint32_t consumer);
  absl::Status Attach(int returns_fd);
  int fd() const { return slots_.fd().get(); }

  // A slot is free and a block may be lent.
  bool CanSubmit() const { return tail_ - head_ < kSlots && lent_.size() < kSlots; }
  // Publishes one message. The caller has seen CanSubmit and wakes the consumer after its batch.
  void Submit(const Message& message);

  // Takes in credits and returned blocks: appends their offsets.
  LinkResult CollectReturns(std::vector<uint32_t>* offsets);

  // The consumer has ended: every block still lent, once for each time it was lent.
  std::vector<uint32_t> TakeBackAll();

  uint64_t depth() const { return tail_ - head_; }
  size_t lent() const { return lent_.size(); }

 private:
  Region slots_;
  Region returns_;
  uint64_t tail_ = 0;           // messages published
  uint64_t head_ = 0;           // of these, taken by the consumer as far as we know
  uint64_t returned_ = 0;       // entries read from the return ring
  std::vector<uint32_t> lent_;  // offsets, unordered; few, so that a scan is the fastest set
};

class LinkConsumer {
 public:
  static absl::StatusOr<LinkConsumer> Create(uint32_t producer, uint32_t consumer);
  absl::Status Attach(int slots_fd);
  int fd() const { return returns_.fd().get(); }

  // Copies the next message, if there is one.
  LinkResult Take(Message* message);
  // Whether Take would give one: the look before parking.
  bool HasNext() const;
  // Gives a block back. Visible to the producer at once; wake it only if it may wait for blocks.
  void Return(uint32_t offset);
  // Tells the producer how many messages were taken.
  void PublishCredits();

 private:
  Region slots_;
  Region returns_;
  uint64_t next_ = 0;      // messages taken
  uint64_t credited_ = 0;  // of these, told to the producer
  uint64_t returned_ = 0;  // blocks returned
};

}  // namespace millrace
