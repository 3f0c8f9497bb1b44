#include "tools/bench/ipc_bench/pair.h"

#include <sched.h>

#include <algorithm>
#include <vector>

#include "tools/bench/ipc_bench/stats.h"

namespace millrace::bench {

void Meet(Session* session, Side side) {
  constexpr uint64_t kPolls = 1'000;
  const auto me = static_cast<size_t>(side);
  // relaxed: its only writer is this side.
  const uint64_t turn = session->arrived[me][0].load(std::memory_order_relaxed) + 1;
  // release: meets the acquire in Meet, of the other side.
  session->arrived[me][0].store(turn, std::memory_order_release);
  // acquire: meets the release in Meet, of the other side.
  for (uint64_t i = 1; session->arrived[1 - me][0].load(std::memory_order_acquire) < turn; ++i) {
    Pause();
    if (i % kPolls == 0) sched_yield();
  }
}

uint64_t CountFor(const Session& session, double ticks_each) {
  constexpr uint64_t kFewest = 32;
  const double fits = static_cast<double>(session.run_ticks) / std::max(ticks_each, 1.0);
  return std::clamp(static_cast<uint64_t>(fits), std::min(kFewest, session.max_count),
                    session.max_count);
}

uint64_t Stamp(Side from, uint64_t i) {
  return (2 * i + (from == Side::kA ? 1 : 2)) * 0x9e3779b97f4a7c15u;
}

double MedianTicks(const Session& session, uint64_t count) {
  return Median(std::vector<double>(session.ticks, session.ticks + count));
}

}  // namespace millrace::bench
