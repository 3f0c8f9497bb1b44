#include "ipc/model/constants.h"

#include <sys/eventfd.h>

#include <memory>
#include <vector>

#include "common/check.h"
#include "ipc/link.h"
#include "ipc/page.h"
#include "ipc/waiter.h"

namespace millrace {
namespace {

constexpr uint64_t kTurns = 64;

// The eventfd's count, which it takes away.
uint64_t Written(const Fd& eventfd) {
  eventfd_t count = 0;
  return eventfd_read(eventfd.get(), &count) == 0 ? count : 0;
}

void ReadWaiter(ModelConstants* c) {
  const Fd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  auto page = std::make_unique<Page>();  // zeroed, as a new region is
  std::atomic<uint64_t>& parked = page->parked;
  Waiter waiter(&parked, wake.Duplicate());
  c->epoch_start = static_cast<unsigned>(parked.load());
  waiter.Arm();
  c->arm_step = static_cast<unsigned>(parked.load() - c->epoch_start);
  waiter.Unpark();
  c->unpark_step = static_cast<unsigned>(parked.load() - c->arm_step - c->epoch_start);
  const uint64_t turn = c->arm_step + c->unpark_step;
  for (uint64_t n = 1; n <= kTurns; ++n) {
    waiter.Arm();
    MR_CHECK(parked.load() == c->epoch_start + n * turn + c->arm_step, "a turn is like another");
    eventfd_write(wake.get(), 1);
    waiter.Unpark();
    MR_CHECK(parked.load() == c->epoch_start + (n + 1) * turn, "a turn is like another");
    MR_CHECK(Written(wake) == 0, "Unpark takes what was written to the eventfd");
  }
}

void ReadWaker(ModelConstants* c) {
  const Fd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  std::atomic<uint64_t> parked{0};
  uint64_t always = ~uint64_t{0};  // bits of all values that wake
  for (uint64_t value = 0; value < kTurns; ++value) {
    parked.store(value);
    Waker waker(&parked, wake.Duplicate());
    waker.Wake();
    if (Written(wake) > 0) always &= value;
    waker.Wake();
    MR_CHECK(Written(wake) == 0, "a value is woken once");
  }
  c->asleep_mask = static_cast<unsigned>(always);
  Waker waker(&parked, wake.Duplicate());
  for (uint64_t value = 0; value < kTurns; ++value) {
    parked.store(value);
    waker.Wake();
    waker.Wake();
    MR_CHECK(Written(wake) == ((value & always) != 0 ? 1 : 0), "asleep is a bit of the value");
  }
}

void ReadLink(ModelConstants* c) {
  auto producer = LinkProducer::Create(1, 2);
  auto consumer = LinkConsumer::Create(1, 2);
  MR_CHECK(producer.ok() && consumer.ok(), "a machine without memory for a link");
  MR_CHECK(producer->Attach(consumer->fd()).ok(), "two halves of one link");
  MR_CHECK(consumer->Attach(producer->fd()).ok(), "two halves of one link");
  auto slots = Region::Open(producer->fd(), kSlotsType, 1, SlotsRegionBytes(kSlots));
  auto returns = Region::Open(consumer->fd(), kReturnsType, 2, ReturnsRegionBytes(kSlots));
  MR_CHECK(slots.ok() && returns.ok(), "a link's regions can be opened");
  std::vector<uint32_t> returned;
  for (uint64_t n = 0; n < 2 * kSlots; ++n) {
    const LinkSlot<Hardware>& slot = slots->as<const SlotsRegion>()->slots[n % kSlots];
    Message message;
    message.block = {64, 1};
    producer->Submit(message);
    const uint32_t seq = slot.seq.load();
    if (n == 0) c->first_seq = seq;
    MR_CHECK(seq == c->first_seq + n, "the seq of a slot counts messages, not slots");
    MR_CHECK(consumer->Take(&message) == LinkResult::kOk, "what was published is there");
    MR_CHECK(!consumer->HasNext(), "a message is there once");
    consumer->PublishCredits();
    consumer->Return(message.block.offset);
    const uint64_t word = returns->as<const ReturnsRegion>()->returns[n % kSlots].load();
    if (n == 0) c->first_return = static_cast<unsigned>(word >> 32);
    MR_CHECK(word >> 32 == c->first_return + n, "a return's number counts returns");
    MR_CHECK(producer->CollectReturns(&returned) == LinkResult::kOk, "an honest consumer");
  }
}

}  // namespace

ModelConstants ReadModelConstants() {
  ModelConstants constants;
  ReadWaiter(&constants);
  ReadWaker(&constants);
  ReadLink(&constants);
  return constants;
}

}  // namespace millrace
