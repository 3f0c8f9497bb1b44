// How a lane waits: between two turns of its duty cycle that found nothing to do.
//
// Purpose: one policy for every loop: look again after a pause, give the core away, or sleep.
// Who may call: a lane's thread, its own Idler. The mode comes from the supervisor (the roster),
//   which knows cores, lanes and foreign load:
//   SPIN   cores to spare: one `pause` between polls for kSpinNs, then park. Exactly one: without
//          it the poller steals the line from the writer, with more it sees the message later.
//   YIELD  our own lanes outnumber the cores: give the core away between polls for kYieldNs, then
//          park. The budget exceeds a round trip through all stages: at less a chain of lanes falls
//          into a slow mode in which every stage parks and stays there. One that fell into it
//          nevertheless (one long interrupt suffices: with the wake-ups the round trip is longer
//          than the budget from then on) is seen by work that comes soon after the park: the next
//          wait has kMostYieldNs.
//   PARK   others need the cores: park at once.
//   In a crowd (many requests are in flight) YIELD parks at once, too, while waits are longer than
//   kPaceNs for each thing that is done between two of them: who yields then takes the next batch
//   to pieces and holds a core that those need who make it. Where work comes faster a wake-up costs
//   more than the wait.
// Invariants:
//   1. A yield that took kHogNs or more met a hog. One is an accident: a short task of somebody's,
//   a
//      machine that stood still. Another one before yields took kFirstBanNs together without any
//      means that somebody else computes on this core: waits that begin in the next kFirstBanNs
//      park at once instead of yielding; twice as long each time the next try meets a hog again, up
//      to kMostBanNs, since each try costs a slice of the scheduler. Only yields that together took
//      as long as the last ban and met no hog make the next one an accident again: a few that found
//      work before the hog's turn came prove nothing.
//   2. After a park that brought nothing the lane parks again: only work opens a new budget.
//   3. A YIELD that found work in its budget, and a park that lasted, make the next budget
//   kYieldNs;
//      one that parked and had work within kMostYieldNs of the wait's begin makes it kMostYieldNs.
//   4. One slow wait between fast ones changes nothing: kSlowWaits in a row make work slow.
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
  static constexpr int64_t kMostYieldNs = 300 * kNanosPerMicro;
  // More than our own lanes take for a batch, less than the slice of one that never sleeps.
  static constexpr int64_t kHogNs = 1 * kNanosPerMilli;
  static constexpr int64_t kFirstBanNs = 10 * kNanosPerMilli;
  static constexpr int64_t kMostBanNs = 1 * kNanosPerSecond;
  static constexpr int64_t kPaceNs = 5 * kNanosPerMicro;
  static constexpr int kSlowWaits = 2;
  // Turns of a spin between two looks at the clock, which costs as much as a turn.
  static constexpr int kSpinsPerLook = 32;

  // A turn did `count` things: the next wait has a whole budget.
  void Worked(size_t count = 1) {
    if (waiting_ && mode_begun_ == WaitMode::kYield) EndWait();
    waiting_ = false;
    things_ += static_cast<int64_t>(count);
  }

  // A turn did nothing. False: look again now (it has paused or yielded). True: park now.
  // `crowd`: many requests are in flight, of which a batch will come.
  bool ShouldPark(WaitMode mode, bool crowd = false) {
    if (!waiting_) Begin(mode, crowd);
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
  void Begin(WaitMode mode, bool crowd) {
    Judge();
    waiting_ = true;
    mode_now_ = mode_begun_ = mode;
    spins_ = 0;
    yields_ = false;
    if (mode == WaitMode::kPark) return;
    looked_ns_ = Idling::NowNs();
    const bool in_vain = crowd && slow_waits_ >= kSlowWaits;
    if (mode == WaitMode::kYield && (in_vain || looked_ns_ < ban_until_ns_)) {
      mode_now_ = WaitMode::kPark;
    }
    yields_ = mode_now_ == WaitMode::kYield;
    begun_ns_ = looked_ns_;
    until_ns_ = looked_ns_ + (yields_ ? yield_ns_ : kSpinNs);
  }

  void EndWait() {
    const int64_t now_ns = mode_now_ == WaitMode::kPark ? Idling::NowNs() : looked_ns_;
    waited_ns_ = now_ns - begun_ns_;
    things_ = 0;
    if (!yields_) return;
    yield_ns_ = waited_ns_ >= kYieldNs && waited_ns_ < kMostYieldNs ? kMostYieldNs : kYieldNs;
  }

  // Of the last wait, by all that was done from its end to the next one's begin: who looks often
  // sees the first of many things alone.
  void Judge() {
    if (waited_ns_ < 0) return;
    const bool slow = waited_ns_ > kPaceNs * things_;
    slow_waits_ = slow ? std::min(slow_waits_ + 1, kSlowWaits) : 0;
    waited_ns_ = -1;
  }

  bool Spin() {
    Idling::Pause();
    if (++spins_ % kSpinsPerLook != 0 || Idling::NowNs() < until_ns_) return false;
    mode_now_ = WaitMode::kPark;
    return true;
  }

  bool Yield() {
    if (looked_ns_ >= until_ns_) {
      mode_now_ = WaitMode::kPark;
      return true;
    }
    Idling::Yield();
    Account(Idling::NowNs());
    return false;
  }

  // One look at the clock a yield: the turn between two of them did nothing and took no time.
  void Account(int64_t now_ns) {
    const int64_t took_ns = now_ns - looked_ns_;
    looked_ns_ = now_ns;
    if (took_ns >= kHogNs) {
      ++hogs_;
      if (met_hog_) {
        ban_ns_ = std::clamp(2 * ban_ns_, kFirstBanNs, kMostBanNs);
        ban_until_ns_ = now_ns + ban_ns_;
      }
      met_hog_ = true;
      clean_ns_ = 0;
    } else if (met_hog_ && (clean_ns_ += took_ns) >= std::max(ban_ns_, kFirstBanNs)) {
      met_hog_ = false;
      ban_ns_ = 0;
    }
  }

  WaitMode mode_now_ = WaitMode::kPark;    // of this wait
  WaitMode mode_begun_ = WaitMode::kPark;  // that it was begun with
  bool waiting_ = false;
  bool yields_ = false;  // this wait began with yields
  int spins_ = 0;
  bool met_hog_ = false;      // and it is not forgotten
  int64_t ban_ns_ = 0;        // the last one; 0: none
  int64_t clean_ns_ = 0;      // spent in yields since the last hog
  int64_t ban_until_ns_ = 0;  // waits that begin before park
  int64_t looked_ns_ = 0;     // at the clock, last
  int64_t begun_ns_ = 0;      // the wait
  int64_t until_ns_ = 0;
  int64_t yield_ns_ = kYieldNs;  // the next wait's budget
  int64_t waited_ns_ = -1;       // the last wait, until it is judged; -1: it was
  int64_t things_ = 0;           // done since it ended
  int slow_waits_ = 0;           // in a row, up to kSlowWaits
  uint64_t hogs_ = 0;
};

using Idler = BasicIdler<RealIdling>;

}  // namespace millrace
