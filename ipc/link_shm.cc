#include "ipc/link_shm.h"

#include <algorithm>

#include "common/check.h"

namespace millrace {

absl::StatusOr<LinkProducer> LinkProducer::Create(uint32_t producer, uint32_t consumer) {
  absl::StatusOr<Region> region = Region::Create(kSlotsType, producer, sizeof(SlotsRegion));
  if (!region.ok()) return region.status();
  LinkProducer link;
  link.slots_ = std::move(*region);
  link.slots_.as<SlotsRegion>()->consumer = consumer;
  link.lent_.reserve(kSlots);
  return link;
}

absl::StatusOr<LinkConsumer> LinkConsumer::Create(uint32_t producer, uint32_t consumer) {
  absl::StatusOr<Region> region = Region::Create(kReturnsType, consumer, sizeof(ReturnsRegion));
  if (!region.ok()) return region.status();
  LinkConsumer link;
  link.returns_ = std::move(*region);
  link.returns_.as<ReturnsRegion>()->producer = producer;
  return link;
}

absl::Status LinkProducer::Attach(int returns_fd) {
  const auto* mine = slots_.as<const SlotsRegion>();
  absl::StatusOr<Region> region =
      Region::Open(returns_fd, kReturnsType, mine->consumer, sizeof(ReturnsRegion));
  if (!region.ok()) return region.status();
  if (region->as<const ReturnsRegion>()->producer != slots_.incarnation()) {
    return absl::FailedPreconditionError("half of another link");
  }
  returns_ = std::move(*region);
  return absl::OkStatus();
}

absl::Status LinkConsumer::Attach(int slots_fd) {
  const auto* mine = returns_.as<const ReturnsRegion>();
  absl::StatusOr<Region> region =
      Region::Open(slots_fd, kSlotsType, mine->producer, sizeof(SlotsRegion));
  if (!region.ok()) return region.status();
  if (region->as<const SlotsRegion>()->consumer != returns_.incarnation()) {
    return absl::FailedPreconditionError("half of another link");
  }
  slots_ = std::move(*region);
  return absl::OkStatus();
}

void LinkProducer::Submit(const Message& message) {
  MR_CHECK(CanSubmit(), "a link is full past admission: the windows are wrong");
  LinkSlot& slot = slots_.as<SlotsRegion>()->slots[tail_ % kSlots];
  slot.kind = static_cast<uint8_t>(message.kind);
  slot.code = message.code;
  slot.route = message.route;
  slot.id = message.id;
  slot.deadline_ns = message.deadline_ns;
  slot.origin = message.origin;
  slot.flags = message.flags;
  slot.published_ns = message.published_ns;
  slot.block = message.block;
  if (message.block.length > 0) lent_.push_back(message.block.offset);
  ++tail_;
  // release: meets the acquire in LinkConsumer::Take; publishes the slot and the block's bytes.
  slot.seq.store(static_cast<uint32_t>(tail_), std::memory_order_release);
}

LinkResult LinkProducer::CollectReturns(std::vector<uint32_t>* offsets) {
  const auto* theirs = returns_.as<const ReturnsRegion>();
  // acquire: meets the release in LinkConsumer::PublishCredits; the slots' old bytes are copied.
  const uint64_t taken = theirs->taken.load(std::memory_order_acquire);
  if (taken < head_ || taken > tail_) return LinkResult::kFault;
  head_ = taken;
  LinkResult result = LinkResult::kEmpty;
  while (true) {
    // acquire: meets the release in LinkConsumer::Return; its reads of the block are done.
    const uint64_t word = theirs->returns[returned_ % kSlots].load(std::memory_order_acquire);
    if (static_cast<uint32_t>(word >> 32) != static_cast<uint32_t>(returned_ + 1)) return result;
    const uint32_t offset = static_cast<uint32_t>(word);
    auto found = std::find(lent_.begin(), lent_.end(), offset);
    if (found == lent_.end()) return LinkResult::kFault;
    *found = lent_.back();
    lent_.pop_back();
    offsets->push_back(offset);
    ++returned_;
    result = LinkResult::kOk;
  }
}

std::vector<uint32_t> LinkProducer::TakeBackAll() {
  std::vector<uint32_t> all = std::move(lent_);
  lent_.clear();
  return all;
}

bool LinkConsumer::HasNext() const {
  const LinkSlot& slot = slots_.as<const SlotsRegion>()->slots[next_ % kSlots];
  // relaxed: only a hint to Take, or the look between the fences of ipc/waiter.h.
  return slot.seq.load(std::memory_order_relaxed) == static_cast<uint32_t>(next_ + 1);
}

LinkResult LinkConsumer::Take(Message* message) {
  const LinkSlot& slot = slots_.as<const SlotsRegion>()->slots[next_ % kSlots];
  // acquire: meets the release in LinkProducer::Submit.
  const uint32_t seq = slot.seq.load(std::memory_order_acquire);
  if (seq != static_cast<uint32_t>(next_ + 1)) {
    // Else it must be what this slot held a lap ago.
    const uint32_t before = static_cast<uint32_t>(next_ < kSlots ? 0 : next_ + 1 - kSlots);
    return seq == before ? LinkResult::kEmpty : LinkResult::kFault;
  }
  message->kind = static_cast<MessageKind>(slot.kind);
  message->code = slot.code;
  message->route = slot.route;
  message->id = slot.id;
  message->deadline_ns = slot.deadline_ns;
  message->origin = slot.origin;
  message->flags = slot.flags;
  message->published_ns = slot.published_ns;
  message->block = slot.block;
  if (message->kind != MessageKind::kData && message->kind != MessageKind::kError) {
    return LinkResult::kFault;
  }
  ++next_;
  return LinkResult::kOk;
}

void LinkConsumer::Return(uint32_t offset) {
  ++returned_;
  const uint64_t word = uint64_t{static_cast<uint32_t>(returned_)} << 32 | offset;
  // release: meets the acquire in LinkProducer::CollectReturns.
  returns_.as<ReturnsRegion>()->returns[(returned_ - 1) % kSlots].store(word,
                                                                        std::memory_order_release);
}

void LinkConsumer::PublishCredits() {
  if (credited_ == next_) return;
  credited_ = next_;
  // release: meets the acquire in LinkProducer::CollectReturns.
  returns_.as<ReturnsRegion>()->taken.store(next_, std::memory_order_release);
}

}  // namespace millrace
