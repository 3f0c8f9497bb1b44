// Two pinned processes and what they exchange: one run of one subject at one size.
//
// Purpose: the same loops, the same probes and the same checks for every subject.
// Who may call: the two children of a run, one each side; the results are the driver's to read once
//   both have ended. Invariants:
//   1. The sender writes all bytes of each message, the receiver reads and checks all of them.
//   2. Floor probes are taken by the two processes themselves, just before and just after.
//   3. Both know the count of messages before the first that is measured, so that nothing but the
//      subject's own means is between them.
// What fails: bytes that arrive wrong are counted; a subject that hangs is ended by the driver.
//
// A subject is a class with
//   static const char* Refusal(size_t bytes);   why it cannot carry this size; null where it can
//   struct Shared { explicit Shared(size_t bytes); };   made before the processes are forked
//   struct End { End(Shared&, Side, size_t bytes); void Send(uint64_t stamp);
//                bool Receive(uint64_t stamp); };       made in each process
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>
#include <memory>

#include "tools/bench/ipc_bench/floor_probe.h"
#include "tools/bench/ipc_bench/machine.h"

namespace millrace::bench {

enum class Side { kA, kB };  // A pings or streams out, B answers or takes in

inline constexpr uint64_t kMaxSamples = 1 << 19;

// In shared memory.
struct Session {
  // Set by the driver.
  uint64_t run_ticks = 0;
  uint64_t max_count = kMaxSamples;
  uint64_t bounces = kFloorBounces;
  bool plant = false;  // expect other bytes than are sent, for the test of the checks

  FloorWords before, after;
  alignas(128) std::atomic<uint64_t> arrived[2][16];  // one line for each side
  alignas(128) std::atomic<uint64_t> count;
  std::atomic<uint64_t> start_ticks;

  // Results.
  alignas(128) Floor floor_before, floor_after;
  std::atomic<uint64_t> wrong;  // messages whose bytes were not those that were sent
  uint64_t elapsed_ticks = 0;   // streaming: from the first send to the last check
  uint32_t ticks[kMaxSamples];  // latency: round trips
};

// Waits until both sides are here.
void Meet(Session* session, Side side);
// The count of messages that fills the time of a run, given what one takes.
uint64_t CountFor(const Session& session, double ticks_each);
uint64_t Stamp(Side from, uint64_t i);

template <typename End>
void RoundTrips(End& end, Side side, Session* session, uint64_t from, uint64_t count) {
  const uint64_t planted = session->plant ? 1 : 0;
  uint64_t wrong = 0;
  uint64_t start = ReadTicks();
  for (uint64_t i = from; i < from + count; ++i) {
    if (side == Side::kA) {
      end.Send(Stamp(Side::kA, i));
      wrong += !end.Receive(Stamp(Side::kB, i) + planted);
      const uint64_t now = ReadTicks();
      session->ticks[i - from] = static_cast<uint32_t>(now - start);
      start = now;
    } else {
      wrong += !end.Receive(Stamp(Side::kA, i));
      end.Send(Stamp(Side::kB, i));
    }
  }
  session->wrong += wrong;
}

template <typename End>
void OneWay(End& end, Side side, Session* session, uint64_t from, uint64_t count) {
  // relaxed: B reads it behind the last message of A.
  if (side == Side::kA) session->start_ticks.store(ReadTicks(), std::memory_order_relaxed);
  const uint64_t planted = session->plant ? 1 : 0;
  uint64_t wrong = 0;
  for (uint64_t i = from; i < from + count; ++i) {
    if (side == Side::kA) {
      end.Send(Stamp(Side::kA, i));
    } else {
      wrong += !end.Receive(Stamp(Side::kA, i) + planted);
    }
  }
  if (side == Side::kA) return;
  // relaxed: it was stored before the messages that were received.
  session->elapsed_ticks = ReadTicks() - session->start_ticks.load(std::memory_order_relaxed);
  session->wrong += wrong;
}

// The median of the first `count` round trips.
double MedianTicks(const Session& session, uint64_t count);

enum class Mode { kLatency, kStream };

// A whole run, as each side sees it.
template <typename End>
void Exchange(End& end, Mode mode, Side side, Session* session) {
  constexpr uint64_t kWarmUp[] = {16, 64};  // the second has seen every block and page
  const auto go = mode == Mode::kLatency ? RoundTrips<End> : OneWay<End>;
  Meet(session, side);
  if (side == Side::kA) session->floor_before = PingFloor(&session->before, session->bounces);
  if (side == Side::kB) PongFloor(&session->before, session->bounces);
  uint64_t done = 0;
  for (const uint64_t warm_up : kWarmUp) {
    Meet(session, side);
    go(end, side, session, done, warm_up);
    done += warm_up;
  }
  // The side that measures says how many.
  if (side == (mode == Mode::kLatency ? Side::kA : Side::kB)) {
    const double each = mode == Mode::kLatency
                            ? MedianTicks(*session, kWarmUp[1])
                            : static_cast<double>(session->elapsed_ticks) / double{kWarmUp[1]};
    session->count = CountFor(*session, each);
  }
  Meet(session, side);
  go(end, side, session, done, session->count);
  Meet(session, side);
  if (side == Side::kA) session->floor_after = PingFloor(&session->after, session->bounces);
  if (side == Side::kB) PongFloor(&session->after, session->bounces);
}

// A subject at one size, its kind forgotten.
class Pair {
 public:
  virtual ~Pair() = default;
  // In a child, pinned. Returns when the run is over.
  virtual void Run(Mode mode, Side side, bool first, Session* session) = 0;
};

template <typename Subject>
class PairOf final : public Pair {
 public:
  explicit PairOf(size_t bytes) : bytes_(bytes), shared_(bytes) {}
  void Run(Mode mode, Side side, bool first, Session* session) override {
    typename Subject::End end(shared_, side, bytes_);
    if (first) RunFirst();
    Exchange(end, mode, side, session);
  }

 private:
  size_t bytes_;
  typename Subject::Shared shared_;
};

}  // namespace millrace::bench
