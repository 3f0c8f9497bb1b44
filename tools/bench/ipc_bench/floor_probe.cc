#include "tools/bench/ipc_bench/floor_probe.h"

#include <vector>

#include "tools/bench/ipc_bench/child.h"
#include "tools/bench/ipc_bench/machine.h"
#include "tools/bench/ipc_bench/stats.h"

namespace millrace::bench {
namespace {

constexpr uint64_t kWarmUpShare = 4;  // a quarter as many before those that are measured

template <bool kPause>
void AwaitWord(const std::atomic<uint64_t>& word, uint64_t value) {
  // acquire: meets the release in Ping and in Pong.
  while (word.load(std::memory_order_acquire) != value) {
    if constexpr (kPause) Pause();
  }
}

template <bool kPause>
double Ping(std::atomic<uint64_t>* word, uint64_t bounces) {
  const uint64_t warm_up = bounces / kWarmUpShare;
  std::vector<double> ticks(bounces);
  uint64_t start = ReadTicks();
  for (uint64_t i = 0; i < warm_up + bounces; ++i) {
    // release: meets the acquire in AwaitWord.
    word->store(2 * i + 1, std::memory_order_release);
    AwaitWord<kPause>(*word, 2 * i + 2);
    const uint64_t now = ReadTicks();
    if (i >= warm_up) ticks[i - warm_up] = static_cast<double>(now - start);
    start = now;
  }
  return Percentile(std::move(ticks), 0.5) / 2 * NsPerTick();
}

template <bool kPause>
void Pong(std::atomic<uint64_t>* word, uint64_t bounces) {
  const uint64_t warm_up = bounces / kWarmUpShare;
  for (uint64_t i = 0; i < warm_up + bounces; ++i) {
    AwaitWord<kPause>(*word, 2 * i + 1);
    // release: meets the acquire in AwaitWord.
    word->store(2 * i + 2, std::memory_order_release);
  }
}

}  // namespace

Floor PingFloor(FloorWords* words, uint64_t bounces) {
  Floor floor;
  floor.unpaused_ns = Ping<false>(&words->unpaused, bounces);
  floor.paused_ns = Ping<true>(&words->paused, bounces);
  return floor;
}

void PongFloor(FloorWords* words, uint64_t bounces) {
  Pong<false>(&words->unpaused, bounces);
  Pong<true>(&words->paused, bounces);
}

Floor ProbeFloor(int cpu_a, int cpu_b) {
  struct Shared {
    FloorWords words;
    Floor floor;
  };
  NsPerTick();
  const SharedArea area(sizeof(Shared));
  auto* shared = area.as<Shared>();
  Child pong = Child::Fork([&] {
    PinTo(cpu_b);
    PongFloor(&shared->words);
    return 0;
  });
  Child ping = Child::Fork([&] {
    PinTo(cpu_a);
    shared->floor = PingFloor(&shared->words);
    return 0;
  });
  ping.Wait(-1);
  pong.Wait(-1);
  return shared->floor;
}

}  // namespace millrace::bench
