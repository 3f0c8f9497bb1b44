// Stages that the supervisor found dying one process after the other: who needs one is refused.
//
// Purpose: a request is not left to wait for a worker that will not come. Who may call: the ingress
//   lane. Invariants: 1. a half-open stage has one request on its way at a time, and whoever was
//   admitted as that one ends it with ProbeEnded. 2. `troubled` is false as long as all are closed.
// Nothing fails.
#pragma once

#include <array>

#include "services/ingress/core/model_breakers.h"
#include "services/ingress/core/windows.h"

namespace millrace {

class StageGate {
 public:
  void Set(Stage stage, BreakerState state) {
    states_[static_cast<size_t>(stage)] = state;
    troubled_ = any_open_ = false;
    for (BreakerState s : states_) {
      troubled_ |= s != BreakerState::kClosed;
      any_open_ |= s == BreakerState::kOpen;
    }
  }
  bool troubled() const { return troubled_; }
  bool any_open() const { return any_open_; }

  ModelBreakers::Verdict Admit(absl::Span<const StageNeed> needs) {
    ModelBreakers::Verdict verdict;
    for (const StageNeed& need : needs) {
      const BreakerState state = states_[static_cast<size_t>(need.stage)];
      if (state == BreakerState::kClosed) continue;
      if (state == BreakerState::kOpen || probing_) verdict.admitted = false;
      verdict.probe = true;
    }
    verdict.probe = verdict.probe && verdict.admitted;
    probing_ = probing_ || verdict.probe;
    return verdict;
  }
  void ProbeEnded() { probing_ = false; }

 private:
  std::array<BreakerState, kStageCount> states_ = {};
  bool troubled_ = false;
  bool any_open_ = false;
  bool probing_ = false;
};

}  // namespace millrace
