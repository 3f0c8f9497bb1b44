// How many processes a stage should have, by the queue delay of its requests.
//
// Purpose: from what the stage's pages said lately to one step up, one step down, or none.
// Who may call: the supervisor's main thread; one object a stage, no I/O, time is handed in.
// Words: the *delay* is the mean time from publish to work of what was worked on; the *busy share*
//   the sum over its processes of the time that they worked (2.0: two did nothing else).
// Invariants:
//   1. Above the target without a break for `up_after` adds one; below a quarter of it, with so
//      little work that one process less is at most kFullShare busy, without a break for
//      `down_after` takes one away. Between the two nothing happens, and a run that was broken
//      begins anew.
//   2. A step is one process and begins both runs anew; so does every look in which the stage is
//      held (a change of it is under way, its breaker is open, it is pinned).
//   3. The count stays within the bounds; one that is outside (they were narrowed, or it was
//      pinned there) goes back a step a look.
//   4. An addition soon after a removal says that the removal was wrong: the wait for the next one
//      doubles, up to kMostPatience times; it is the usual one again after kPeace times as long
//      without a step.
// Nothing fails.
#pragma once

#include <stdint.h>

namespace millrace {

struct ScaleBounds {
  uint32_t min = 1, max = 1;
  int64_t target_ns = 0;
  int64_t up_after_ns = 0, down_after_ns = 0;
};

struct StageLoad {
  uint32_t processes = 1;
  int64_t delay_ns = 0;
  double busy = 0;
  bool held = false;
};

class ScaleGovernor {
 public:
  static constexpr double kFullShare = 0.7;
  static constexpr int64_t kLowDivisor = 4;  // of the target
  static constexpr int64_t kMostPatience = 8;
  static constexpr int64_t kSoon = 2, kPeace = 8;

  explicit ScaleGovernor(const ScaleBounds& bounds) : bounds_(bounds) {}

  // One look; how many processes the stage should have.
  uint32_t Decide(const StageLoad& load, int64_t now_ns);
  const ScaleBounds& bounds() const { return bounds_; }

 private:
  // How long a condition has held without a break.
  struct Run {
    int64_t since_ns = -1;
    bool Lasts(bool holds, int64_t now_ns, int64_t enough_ns);
  };

  const ScaleBounds bounds_;
  Run high_, low_;
  int64_t patience_ = 1;
  int64_t last_step_ns_ = 0;
  bool last_was_down_ = false;
};

}  // namespace millrace
