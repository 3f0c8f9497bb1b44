#include "services/supervisor/scale_governor.h"

#include <algorithm>

namespace millrace {

bool ScaleGovernor::Run::Lasts(bool holds, int64_t now_ns, int64_t enough_ns) {
  if (!holds) {
    since_ns = -1;
    return false;
  }
  if (since_ns < 0) since_ns = now_ns;
  return now_ns - since_ns >= enough_ns;
}

uint32_t ScaleGovernor::Decide(const StageLoad& load, int64_t now_ns) {
  if (load.held) {
    high_ = low_ = Run();
    return load.processes;
  }
  if (load.processes < bounds_.min || load.processes > bounds_.max) {
    high_ = low_ = Run();
    return load.processes < bounds_.min ? load.processes + 1 : load.processes - 1;
  }
  const int64_t down_after_ns = bounds_.down_after_ns * patience_;
  const int64_t still_ns = now_ns - last_step_ns_;
  const bool soon = last_was_down_ && still_ns <= kSoon * bounds_.down_after_ns;
  if (still_ns > kPeace * down_after_ns) patience_ = 1;
  const double room = kFullShare * (load.processes - 1);
  const bool low = load.delay_ns * kLowDivisor < bounds_.target_ns && load.busy <= room;
  const bool up = high_.Lasts(load.delay_ns > bounds_.target_ns, now_ns, bounds_.up_after_ns);
  const bool down = low_.Lasts(low, now_ns, down_after_ns);
  uint32_t wanted = load.processes;
  if (up && load.processes < bounds_.max) {
    if (soon) patience_ = std::min(2 * patience_, kMostPatience);
    ++wanted;
  } else if (down && load.processes > bounds_.min) {
    --wanted;
  }
  if (wanted != load.processes) {
    high_ = low_ = Run();
    last_step_ns_ = now_ns;
    last_was_down_ = wanted < load.processes;
  }
  return wanted;
}

}  // namespace millrace
