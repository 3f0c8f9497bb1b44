#include "services/supervisor/stage_storms.h"

namespace millrace {

void StageStorms::Died(Stage stage, const Death& death, int64_t now_ns) {
  Storm& storm = storms_[static_cast<size_t>(stage)];
  StageBreaker& state = states_[static_cast<size_t>(stage)];
  if (death.answered || death.others_serve) {
    storm.deaths.clear();
    return;
  }
  if (death.executing) return;
  if (storm.deaths.size() == intensity_) storm.deaths.pop_front();
  storm.deaths.push_back(now_ns);
  while (storm.deaths.front() < now_ns - period_ns_) storm.deaths.pop_front();
  if (storm.deaths.size() < intensity_ && state == StageBreaker::kClosed) return;
  state = StageBreaker::kOpen;
  storm.opened_ns = now_ns;
}

void StageStorms::Look(Stage stage, const StageLook& look, int64_t now_ns) {
  Storm& storm = storms_[static_cast<size_t>(stage)];
  StageBreaker& state = states_[static_cast<size_t>(stage)];
  if (state == StageBreaker::kClosed || !look.ready) return;
  if (look.answered) {
    state = StageBreaker::kClosed;
    storm.deaths.clear();
  } else if (now_ns - storm.opened_ns >= rest_ns_) {
    state = StageBreaker::kHalfOpen;
  }
}

}  // namespace millrace
