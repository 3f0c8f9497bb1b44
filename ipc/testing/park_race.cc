#include "ipc/testing/park_race.h"

#include <unistd.h>

#include <algorithm>
#include <random>
#include <thread>

#include "common/check.h"
#include "ipc/link.h"
#include "ipc/page.h"
#include "ipc/testing/must.h"
#include "ipc/waiter.h"

namespace millrace {
namespace {

constexpr int kProducers = 2;
constexpr int kSleepMs = 200;
// The producer's gap and the consumer's look-out before it parks are this many turns at most, drawn
// anew each time: they end within a cache miss of each other often enough.
constexpr uint64_t kLongestGap = 64;
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

void Produce(Race* race, int who, Waker waker, uint64_t seed) {
  Side& side = race->sides[who];
  std::mt19937_64 random(seed);
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

void Park(Race* race, Waiter* waiter, ParkRaceResult* result) {
  waiter->Arm();
  ++result->parks;
  if (HasNext(*race)) {
    ++result->cancelled;
  } else {
    ++result->slept;
    if (!waiter->Sleep(kSleepMs) && AnyAnnounced(*race) && !waiter->Sleep(0)) ++result->lost;
  }
  waiter->Unpark();
}

}  // namespace

ParkRaceResult RunParkRace(uint64_t parks, uint64_t seed) {
  Race race;
  const Fd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  Waiter waiter(&race.parked, wake.Duplicate());
  std::thread threads[kProducers];
  for (int i = 0; i < kProducers; ++i) {
    MustOk(race.sides[i].out.Attach(race.sides[i].in.fd()));
    MustOk(race.sides[i].in.Attach(race.sides[i].out.fd()));
    threads[i] = std::thread(Produce, &race, i, Waker(&race.parked, wake.Duplicate()), seed + i);
  }
  ParkRaceResult result;
  std::mt19937_64 random(seed);
  uint64_t look_out = 0;
  while (result.parks < parks) {
    const size_t taken = Take(&race);
    result.taken += taken;
    if (taken > 0) {
      look_out = random() % kLongestGap;
    } else if (look_out > 0) {
      --look_out;
      __builtin_ia32_pause();
    } else {
      Park(&race, &waiter, &result);
    }
  }
  race.stop = true;
  for (std::thread& thread : threads) thread.join();
  return result;
}

}  // namespace millrace
