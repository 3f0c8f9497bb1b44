// The one clock of the data plane.
//
// Purpose: every deadline, beat and delay is CLOCK_MONOTONIC nanoseconds, so that a step of the
//   wall clock cannot expire a request. On its way a request is timed some fifteen times; each
//   thread reads the kernel's clock once in kTrustNs, and between two readings the processor's
//   counter says how long ago that was: for half of the cost, and without waiting for all loads
//   that are under way.
// Who may call: any thread. Ownership: a ThreadClock is one thread's.
// Invariants:
//   1. Within a thread time does not go back.
//   2. Beside clock_gettime, and so between threads, it is off by what a reading of both clocks
//      leaves open, some 10 ns and never kMostPairTicks: less than a message takes from core to
//      core. A difference between two threads' times may be that much below 0. Where the counter
//      itself jumped (a machine that was moved or slept) a thread may once be kTrustNs ahead.
//   3. Where the kernel does not go by the counter itself (cores may disagree, or its rate change),
//      in a thread's first kLearnNs, and when the counter's rate is another than it was, each call
//      reads the kernel's clock.
// Nothing fails.
#pragma once

#include <stdint.h>
#include <x86intrin.h>

#include <algorithm>

namespace millrace {

inline constexpr int64_t kNanosPerMicro = 1'000;
inline constexpr int64_t kNanosPerMilli = 1'000'000;
inline constexpr int64_t kNanosPerSecond = 1'000'000'000;

// What a ThreadClock reads; a test has its own.
struct MachineTime {
  static uint64_t Ticks() { return __rdtsc(); }
  static int64_t KernelNs();
  // Whether the kernel's clock is the counter. Looked up before main: later a sandbox may forbid
  // it.
  static bool KernelCounts();
};

template <typename Time>
class BasicThreadClock {
 public:
  static constexpr int64_t kTrustNs = 50 * kNanosPerMicro;
  static constexpr int64_t kLearnNs = 10 * kNanosPerMilli;
  static constexpr uint64_t kMostPairTicks = 400;  // a reading that took longer was interrupted

  int64_t NowNs() {
    const uint64_t since = Time::Ticks() - ticks_;
    if (since < trusted_ticks_) return ns_ + Nanos(since);
    return Read();
  }

 private:
  static constexpr int kFraction = 32;         // bits of a rate behind the point
  static constexpr uint64_t kRateMoves = 256;  // of the rate: by more it is another counter

  struct Reading {
    uint64_t ticks = 0;
    int64_t ns = 0;
    bool whole = false;  // both at one time
  };
  static Reading ReadBoth() {
    const uint64_t before = Time::Ticks();
    const int64_t ns = Time::KernelNs();
    const uint64_t took = Time::Ticks() - before;
    return {before + took / 2, ns, took < kMostPairTicks};
  }

  int64_t Nanos(uint64_t ticks) const { return static_cast<int64_t>(ticks * rate_ >> kFraction); }

  int64_t Read() {
    if (!Time::KernelCounts()) return Time::KernelNs();
    const Reading now = ReadBoth();
    // The most that can have been said since the last reading. What is ahead of the kernel's clock
    // loses that again: the time from the end of trust to a reading is not in it.
    const int64_t said_ns = ns_ + Nanos(std::min(now.ticks - ticks_, trusted_ticks_));
    const int64_t now_ns = std::max(now.ns, said_ns);
    if (!now.whole) return now_ns;
    Learn(now);
    if (rate_ == 0) {
      trusted_ticks_ = 0;
      ns_ = now_ns;
      return now_ns;
    }
    trusted_ticks_ = (static_cast<uint64_t>(kTrustNs) << kFraction) / rate_;
    ticks_ = now.ticks;
    ns_ = now_ns;
    return now_ns;
  }

  // The rate, from two readings kLearnNs or more apart.
  void Learn(const Reading& now) {
    if (!learned_from_.whole) learned_from_ = now;
    const int64_t ns = now.ns - learned_from_.ns;
    if (ns < kLearnNs) return;
    const uint64_t ticks = now.ticks - learned_from_.ticks;
    learned_from_ = now;
    const auto rate = static_cast<unsigned __int128>(ns) << kFraction;
    const auto seen = ticks == 0 ? 0 : static_cast<uint64_t>(rate / ticks);
    const uint64_t off = seen > rate_ ? seen - rate_ : rate_ - seen;
    // Of a counter that jumped, or of a machine that slept, nothing is believed until it is seen
    // again.
    rate_ = rate_ != 0 && off > rate_ / kRateMoves ? 0 : seen;
  }

  uint64_t ticks_ = 0;          // at the last reading that is gone by
  uint64_t trusted_ticks_ = 0;  // so long after it; 0: not at all
  uint64_t rate_ = 0;           // nanoseconds a tick, with kFraction; 0: not known
  int64_t ns_ = 0;              // at that reading
  Reading learned_from_;
};

using ThreadClock = BasicThreadClock<MachineTime>;
extern constinit thread_local ThreadClock thread_clock;

// Nanoseconds since an arbitrary start, the same for all processes of this machine.
inline int64_t MonotonicNanos() { return thread_clock.NowNs(); }

}  // namespace millrace
