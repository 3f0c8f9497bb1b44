#include "ipc/testing/park_race.h"

#include <unistd.h>

#include <algorithm>
#include <random>
#include <thread>

#include "common/check.h"
#include "ipc/link.h"
#include "ipc/page.h"
#include "ipc/testing/cores.h"
#include "ipc/testing/must.h"
#include "ipc/waiter.h"

namespace millrace {
namespace {

constexpr int kProducers = 2;
constexpr int kSleepMs = 200;
// A sleep costs the machine ten times what the race itself does. Most parks therefore look for
// their wake-up so often before they sleep; one in kSleepEvery sleeps at once.
constexpr int kLooks = 64;
constexpr uint64_t kSleepEvery = 16;
// The producer's gap and the consumer's look-out before it parks are this many turns at most, drawn
// anew each time: they end within a cache miss of each other often enough.
constexpr uint64_t kLongestGap = 16;
// The producers take turns of so many messages, so that a core is free for the race.
constexpr uint64_t kTurn = 256;

struct alignas(kLineBytes) Side {
  LinkProducer out = Must(LinkProducer::Create(1, 2));
  LinkConsumer in = Must(LinkConsumer::Create(1, 2));
  alignas(kLineBytes) std::atomic<uint64_t> announced{0};  // messages whose Wake has returned
  alignas(kLineBytes) std::atomic<uint64_t> taken{0};
};

struct Race {
  Side sides[kProducers];
  std::atomic<uint64_t> total{0};  // messages taken from both
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> parked{0};
};

// Parking as ipc/waiter.h has it, over a memory model of the test's.
template <typename M>
class ModelWaiter {
 public:
  ModelWaiter(std::atomic<uint64_t>* parked, Fd eventfd)
      : word_(parked), waiter_(&unused_, std::move(eventfd)) {}
  void Arm() { word_.Arm(); }
  bool Sleep(int timeout_ms) { return waiter_.Sleep(timeout_ms); }
  void Unpark() {
    word_.Disarm();
    waiter_.Unpark();
  }

 private:
  ParkWord<M> word_;
  std::atomic<uint64_t> unused_{0};
  Waiter waiter_;
};

template <typename M>
class ModelWaker {
 public:
  ModelWaker(const std::atomic<uint64_t>* parked, Fd eventfd)
      : gate_(parked), eventfd_(std::move(eventfd)) {}
  void Wake() {
    if (gate_.ShouldWake()) eventfd_write(eventfd_.get(), 1);
  }

 private:
  WakeGate<M> gate_;
  Fd eventfd_;
};

// The compiler keeps the order, the processor may not.
struct NoFence : Hardware {
  static void Fence() { asm volatile("" ::: "memory"); }
};

template <typename AWaker>
void Produce(Race* race, int who, AWaker waker, uint64_t seed) {
  Side& side = race->sides[who];
  std::mt19937_64 random(seed);
  RunOnCore(1);
  std::vector<uint32_t> returned;
  for (uint64_t n = 1;; ++n) {
    for (uint64_t spins = 0;; ++spins) {
      if (race->stop.load()) return;
      // acquire: meets the release in Take.
      const uint64_t total = race->total.load(std::memory_order_acquire);
      const bool mine = total / kTurn % kProducers == static_cast<uint64_t>(who);
      if (mine && side.taken.load() >= n - 1) break;
      if (!mine) usleep(20);
      if (spins % 256 == 255) std::this_thread::yield();
      __builtin_ia32_pause();
    }
    for (uint64_t gap = random() % kLongestGap; gap > 0; --gap) __builtin_ia32_pause();
    MR_CHECK(side.out.CollectReturns(&returned) != LinkResult::kFault, "an honest link");
    side.out.Submit(Message{});
    waker.Wake();
    // release: meets the acquire in AnyAnnounced: Wake has done what it does.
    side.announced.store(n, std::memory_order_release);
  }
}

size_t Take(Race* race) {
  size_t count = 0;
  for (Side& side : race->sides) {
    Message message;
    size_t here = 0;
    for (; side.in.Take(&message) == LinkResult::kOk; ++here) continue;
    if (here == 0) continue;
    side.in.PublishCredits();
    side.taken.fetch_add(here);
    count += here;
  }
  // release: meets the acquire in Produce.
  if (count > 0) race->total.fetch_add(count, std::memory_order_release);
  return count;
}

bool HasNext(const Race& race) {
  return std::any_of(std::begin(race.sides), std::end(race.sides),
                     [](const Side& side) { return side.in.HasNext(); });
}

bool AnyAnnounced(const Race& race) {
  return std::any_of(std::begin(race.sides), std::end(race.sides), [](const Side& side) {
    // acquire: meets the release in Produce.
    return side.announced.load(std::memory_order_acquire) > side.taken.load();
  });
}

// The wake-up is there within a few looks.
template <typename AWaiter>
bool WokenSoon(AWaiter* waiter) {
  for (int look = 0; look < kLooks; ++look) {
    if (waiter->Sleep(0)) return true;
  }
  return false;
}

template <typename AWaiter>
void Park(Race* race, AWaiter* waiter, uint64_t dice, ParkRaceResult* result) {
  waiter->Arm();
  ++result->parks;
  if (HasNext(*race)) {
    ++result->cancelled;
  } else if (dice % kSleepEvery != 0 && WokenSoon(waiter)) {
    ++result->woken_soon;
  } else {
    ++result->slept;
    if (!waiter->Sleep(kSleepMs) && AnyAnnounced(*race) && !waiter->Sleep(0)) ++result->lost;
  }
  waiter->Unpark();
}

// The consumer is a thread of its own too, so that the caller's affinity stays as it is.
template <typename AWaiter>
void Consume(Race* race, AWaiter* waiter, uint64_t parks, uint64_t seed, uint64_t most_lost,
             ParkRaceResult* result) {
  RunOnCore(0);
  std::mt19937_64 random(seed);
  uint64_t look_out = 0;
  while (result->parks < parks && result->lost < most_lost) {
    const size_t taken = Take(race);
    result->taken += taken;
    if (taken > 0) {
      look_out = random() % kLongestGap;
    } else if (look_out > 0) {
      --look_out;
      __builtin_ia32_pause();
    } else {
      Park(race, waiter, random(), result);
    }
  }
}

template <typename AWaiter, typename AWaker>
ParkRaceResult Run(uint64_t parks, uint64_t seed, uint64_t most_lost) {
  Race race;
  const Fd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  AWaiter waiter(&race.parked, wake.Duplicate());
  std::thread threads[kProducers];
  for (int i = 0; i < kProducers; ++i) {
    MustOk(race.sides[i].out.Attach(race.sides[i].in.fd()));
    MustOk(race.sides[i].in.Attach(race.sides[i].out.fd()));
    threads[i] =
        std::thread(Produce<AWaker>, &race, i, AWaker(&race.parked, wake.Duplicate()), seed + i);
  }
  ParkRaceResult result;
  std::thread consumer(Consume<AWaiter>, &race, &waiter, parks, seed, most_lost, &result);
  consumer.join();
  race.stop = true;
  for (std::thread& thread : threads) thread.join();
  return result;
}

}  // namespace

ParkRaceResult RunParkRace(uint64_t parks, uint64_t seed, RaceFences fences, uint64_t most_lost) {
  switch (fences) {
    case RaceFences::kWithoutF1:
      return Run<ModelWaiter<NoFence>, Waker>(parks, seed, most_lost);
    case RaceFences::kWithoutF2:
      return Run<Waiter, ModelWaker<NoFence>>(parks, seed, most_lost);
    case RaceFences::kBoth:
      break;
  }
  return Run<Waiter, Waker>(parks, seed, most_lost);
}

}  // namespace millrace
