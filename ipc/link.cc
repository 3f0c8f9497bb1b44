#include "ipc/link.h"

#include <array>

#include "absl/strings/str_cat.h"

namespace millrace {
namespace {

constexpr std::array<const char*, static_cast<size_t>(LinkFault::kCount)> kFaultSentences = {
    "nothing",
    "a slot's sequence is neither the next nor the last lap's",
    "a message is of no known kind",
    "an inline payload is longer than a message",
    "more messages are taken than were sent, or fewer than before",
    "a block was returned that is not lent",
};

absl::Status CheckSlots(uint64_t slots) {
  if (slots >= kMinSlots && slots <= kSlots && (slots & (slots - 1)) == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "a link of ", slots, " slots: must be a power of two from ", kMinSlots, " to ", kSlots));
}

// The other half must be made for us, as large as ours.
absl::Status CheckHalf(uint32_t names, uint32_t incarnation, uint32_t slot_count, uint64_t slots) {
  if (names != incarnation) return absl::FailedPreconditionError("half of another link");
  if (slot_count == slots) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the halves of a link have ", slots, " and ", slot_count, " slots"));
}

}  // namespace

const char* FaultSentence(LinkFault fault) {
  MR_CHECK(fault < LinkFault::kCount, "a fault without a sentence");
  return kFaultSentences[static_cast<size_t>(fault)];
}

LinkProducer::LinkProducer(Region region, uint64_t slots)
    : ProducerEnd(region.as<SlotsRegion>()->slots, nullptr, nullptr, slots),
      region_(std::move(region)) {}

absl::StatusOr<LinkProducer> LinkProducer::Create(uint32_t producer, uint32_t consumer,
                                                  uint64_t slots) {
  if (absl::Status s = CheckSlots(slots); !s.ok()) return s;
  absl::StatusOr<Region> region = Region::Create(kSlotsType, producer, SlotsRegionBytes(slots));
  if (!region.ok()) return region.status();
  region->as<SlotsRegion>()->consumer = consumer;
  region->as<SlotsRegion>()->slot_count = static_cast<uint32_t>(slots);
  return LinkProducer(std::move(*region), slots);
}

absl::Status LinkProducer::Attach(int returns_fd) {
  const auto* mine = region_.as<const SlotsRegion>();
  absl::StatusOr<Region> region =
      Region::Open(returns_fd, kReturnsType, mine->consumer, ReturnsRegionBytes(slots()));
  if (!region.ok()) return region.status();
  const auto* other = region->as<const ReturnsRegion>();
  absl::Status fits = CheckHalf(other->producer, region_.incarnation(), other->slot_count, slots());
  if (!fits.ok()) return fits;
  Bind(&other->taken, other->returns);
  theirs_ = std::move(*region);
  return absl::OkStatus();
}

LinkConsumer::LinkConsumer(Region region, uint64_t slots)
    : ConsumerEnd(nullptr, &region.as<ReturnsRegion>()->taken, region.as<ReturnsRegion>()->returns,
                  slots),
      region_(std::move(region)) {}

absl::StatusOr<LinkConsumer> LinkConsumer::Create(uint32_t producer, uint32_t consumer,
                                                  uint64_t slots) {
  if (absl::Status s = CheckSlots(slots); !s.ok()) return s;
  absl::StatusOr<Region> region = Region::Create(kReturnsType, consumer, ReturnsRegionBytes(slots));
  if (!region.ok()) return region.status();
  region->as<ReturnsRegion>()->producer = producer;
  region->as<ReturnsRegion>()->slot_count = static_cast<uint32_t>(slots);
  return LinkConsumer(std::move(*region), slots);
}

absl::Status LinkConsumer::Attach(int slots_fd) {
  const auto* mine = region_.as<const ReturnsRegion>();
  absl::StatusOr<Region> region =
      Region::Open(slots_fd, kSlotsType, mine->producer, SlotsRegionBytes(slots()));
  if (!region.ok()) return region.status();
  const auto* other = region->as<const SlotsRegion>();
  absl::Status fits = CheckHalf(other->consumer, region_.incarnation(), other->slot_count, slots());
  if (!fits.ok()) return fits;
  Bind(other->slots);
  theirs_ = std::move(*region);
  return absl::OkStatus();
}

}  // namespace millrace
