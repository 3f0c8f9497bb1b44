// Ends of a link with a fault in them, for tests that must find it.
//
// Purpose: the code of ipc/link_shm.h on a memory that does the one thing wrong that a careless
//   change would: everything else is as it serves. Who may call: tests. Ownership: as in
//   ipc/link.h, whose regions they make and open. What fails: set-up ends the process.
#pragma once

#include <stdint.h>

#include <atomic>
#include <utility>

#include "absl/status/statusor.h"
#include "ipc/link.h"
#include "ipc/testing/must.h"

namespace millrace {

// A sequence is stored before the message that it publishes.
struct PublishFirst : Hardware {
  template <typename T>
  struct Word : std::atomic<T> {
    void store(T value, std::memory_order order) {
      std::atomic<T>::store(value, order);
      if (late_to == nullptr) return;
      asm volatile("" ::: "memory");
      Hardware::Write(std::exchange(late_to, nullptr), late);
    }
  };
  static void Write(MessageBody* to, const Message& from) {
    late_to = to;
    late = from;
  }
  static inline MessageBody* late_to = nullptr;
  static inline Message late;
};

// A word is stored in two halves, the upper one, which says that it is there, first.
struct InHalves : Hardware {
  template <typename T>
  struct Word : std::atomic<T> {
    void store(T value, std::memory_order order) {
      auto* halves = reinterpret_cast<std::atomic<uint32_t>*>(this);
      halves[1].store(static_cast<uint32_t>(value >> 32), order);
      halves[0].store(static_cast<uint32_t>(value), order);
    }
  };
};

template <typename M>
class FaultyProducer : public ProducerEnd<M> {
 public:
  static absl::StatusOr<FaultyProducer> Create(uint32_t producer, uint32_t consumer,
                                               uint64_t slots) {
    absl::StatusOr<Region> region = Region::Create(kSlotsType, producer, SlotsRegionBytes(slots));
    if (!region.ok()) return region.status();
    region->as<SlotsRegion>()->consumer = consumer;
    region->as<SlotsRegion>()->slot_count = static_cast<uint32_t>(slots);
    return FaultyProducer(std::move(*region), slots);
  }
  absl::Status Attach(int returns_fd) {
    theirs_ = Must(Region::Open(returns_fd, kReturnsType, region_.as<SlotsRegion>()->consumer,
                                ReturnsRegionBytes(this->slots())));
    auto* words = theirs_.as<ReturnsRegion>();
    using Word = typename M::template Word<uint64_t>;
    this->Bind(reinterpret_cast<const Word*>(&words->taken),
               reinterpret_cast<const Word*>(words->returns));
    return absl::OkStatus();
  }
  int fd() const { return region_.fd().get(); }

 private:
  FaultyProducer(Region region, uint64_t slots)
      : ProducerEnd<M>(reinterpret_cast<LinkSlot<M>*>(region.as<SlotsRegion>()->slots), nullptr,
                       nullptr, slots),
        region_(std::move(region)) {}

  Region region_;
  Region theirs_;
};

template <typename M>
class FaultyConsumer : public ConsumerEnd<M> {
 public:
  static absl::StatusOr<FaultyConsumer> Create(uint32_t producer, uint32_t consumer,
                                               uint64_t slots) {
    absl::StatusOr<Region> region =
        Region::Create(kReturnsType, consumer, ReturnsRegionBytes(slots));
    if (!region.ok()) return region.status();
    region->as<ReturnsRegion>()->producer = producer;
    region->as<ReturnsRegion>()->slot_count = static_cast<uint32_t>(slots);
    return FaultyConsumer(std::move(*region), slots);
  }
  absl::Status Attach(int slots_fd) {
    theirs_ = Must(Region::Open(slots_fd, kSlotsType, region_.as<ReturnsRegion>()->producer,
                                SlotsRegionBytes(this->slots())));
    this->Bind(reinterpret_cast<const LinkSlot<M>*>(theirs_.as<SlotsRegion>()->slots));
    return absl::OkStatus();
  }
  int fd() const { return region_.fd().get(); }
  ReturnsRegion* words() const { return region_.as<ReturnsRegion>(); }

 private:
  using Word = typename M::template Word<uint64_t>;
  FaultyConsumer(Region region, uint64_t slots)
      : ConsumerEnd<M>(nullptr, reinterpret_cast<Word*>(&region.as<ReturnsRegion>()->taken),
                       reinterpret_cast<Word*>(region.as<ReturnsRegion>()->returns), slots),
        region_(std::move(region)) {}

  Region region_;
  Region theirs_;
};

}  // namespace millrace
