// How a lane waits: between two turns of its duty cycle that found nothing to do.
//
// Purpose: one policy for every loop: look again after a pause, give the core away, or sleep.
// Who may call: a lane's thread, its own Idler. The mode comes from the supervisor (the roster),
//   which knows cores, lanes and foreign load:
//   SPIN   cores to spare: one `pause` between polls for kSpinNs, then park. Exactly one: without
//          it the poller steals the line from the writer, with more it sees the message later.
//   YIELD  our own lanes outnumber the cores: give the core away between polls for kYieldNs, then
//          park. The budget exceeds a round trip through all stages: at less a chain of lanes falls
//          into a slow mode in which every stage parks and stays there.
//   PARK   others need the cores: park at once.
// Invariants:
//   1. A yield that took kHogNs or more means that somebody else computes on this core: the next
//      kHogWaits waits park at once instead of yielding; twice as many each time the next try
//      meets a hog again, up to kMostHogWaits, since each try costs a slice of the scheduler.
//   2. After a park that brought nothing the lane parks again: only work opens a new budget.
// Nothing fails.
#pragma once

#include <sched.h>
#include <stddef.h>
#include <stdint.h>

#include <algorithm>

#include "common/clock.h"

namespace millrace {

enum class WaitMode : uint8_t { kSpin = 0, kYield = 1, kPark = 2 };
inline constexpr size_t kWaitModeCount = 3;

// What an Idler does to its thread; a test has its own.
struct RealIdling {
  static int64_t NowNs() { return MonotonicNanos(); }
  static void Pause() { __builtin_ia32_pause(); }
  static void Yield() { sched_yield(); }
};

template <typename Idling>
class BasicIdler {
 public:
  static constexpr int64_t kSpinNs = 50 * kNanosPerMicro;
  static constexpr int64_t kYieldNs = 100 * kNanosPerMicro;
  static constexpr int64_t kHogNs = 300 * kNanosPerMicro;
  static constexpr int kHogWaits = 32;
  static constexpr int kMostHogWaits = 4096;
  // Turns of a spin between two looks at the clock, which costs as much as a turn.
  static constexpr int kSpinsPerLook = 32;

  // A turn did something: the next wait has a whole budget.
  void Worked() {
    // A wait that yielded and met nobody: the hog is gone.
    if (waiting_ && mode_now_ == WaitMode::kYield && hog_waits_ == 0) next_hog_waits_ = kHogWaits;
    waiting_ = false;
  }

  // A turn did nothing. False: look again now (it has paused or yielded). True: park now.
  bool ShouldPark(WaitMode mode) {
    if (!waiting_) Begin(mode);
    switch (mode_now_) {
      case WaitMode::kSpin:
        return Spin();
      case WaitMode::kYield:
        return Yield();
      case WaitMode::kPark:
        break;
    }
    return true;
  }

  uint64_t hogs() const { return hogs_; }  // yields that took too long

 private:
  void Begin(WaitMode mode) {
    waiting_ = true;
    mode_now_ = mode;
    spins_ = 0;
    if (mode == WaitMode::kYield && hog_waits_ > 0) {
      --hog_waits_;
      mode_now_ = WaitMode::kPark;
    }
    if (mode_now_ != WaitMode::kPark) until_ns_ = Idling::NowNs() + Budget(mode_now_);
  }

  static int64_t Budget(WaitMode mode) { return mode == WaitMode::kSpin ? kSpinNs : kYieldNs; }

  bool Spin() {
    Idling::Pause();
    if (++spins_ % kSpinsPerLook != 0 || Idling::NowNs() < until_ns_) return false;
    mode_now_ = WaitMode::kPark;
    return true;
  }

  bool Yield() {
    const int64_t before_ns = Idling::NowNs();
    if (before_ns >= until_ns_) {
      mode_now_ = WaitMode::kPark;
      return true;
    }
    Idling::Yield();
    if (Idling::NowNs() - before_ns >= kHogNs) {
      ++hogs_;
      hog_waits_ = next_hog_waits_;
      next_hog_waits_ = std::min(2 * next_hog_waits_, kMostHogWaits);
    }
    return false;
  }

  WaitMode mode_now_ = WaitMode::kPark;  // of this wait
  bool waiting_ = false;
  int spins_ = 0;
  int hog_waits_ = 0;               // waits that park before the next try
  int next_hog_waits_ = kHogWaits;  // after the next hog
  int64_t until_ns_ = 0;
  uint64_t hogs_ = 0;
};

using Idler = BasicIdler<RealIdling>;

}  // namespace millrace
