// Breakers against stages whose processes die one after the other before they answered anything.
//
// Purpose: ingress refuses at once what needs such a stage, instead of letting it wait for a worker
//   until its deadline; everything else goes on. The restarts themselves go on too, with the
//   back-off of restart_policy.h: nothing is ever given up for good.
// Who may call: the supervisor's main thread; time is handed in.
// Invariants:
//   1. A death counts if its incarnation answered nothing and executed nothing (then it is a
//      model's, services/ingress/core/model_breakers.h), and no other process of the stage serves.
//   2. `intensity` such deaths within `period` open; after `rest`, once a process is ready, the
//      stage is half open: ingress lets one request through at a time. A process that answers
//      closes it, a death opens it again.
// Nothing fails.
#pragma once

#include <stdint.h>

#include <array>
#include <deque>

#include "ipc/topology.h"

namespace millrace {

enum class StageBreaker : uint8_t { kClosed = 0, kOpen = 1, kHalfOpen = 2 };
using StageBreakers = std::array<StageBreaker, kStageCount>;

struct StageLook {
  bool ready = false;     // a process of it is ready
  bool answered = false;  // one that is ready has answered
};

class StageStorms {
 public:
  StageStorms(int64_t intensity, int64_t period_ns, int64_t rest_ns)
      : intensity_(static_cast<size_t>(intensity)), period_ns_(period_ns), rest_ns_(rest_ns) {}

  struct Death {
    bool answered = false;
    bool executing = false;
    bool others_serve = false;
  };
  void Died(Stage stage, const Death& death, int64_t now_ns);
  void Look(Stage stage, const StageLook& look, int64_t now_ns);
  // Goes on from what an earlier supervisor had decided; the deaths that it counted are forgotten.
  void GoOnFrom(Stage stage, StageBreaker state, int64_t opened_ns) {
    states_[static_cast<size_t>(stage)] = state;
    storms_[static_cast<size_t>(stage)].opened_ns = opened_ns;
  }

  const StageBreakers& states() const { return states_; }
  int64_t opened_ns(Stage stage) const { return storms_[static_cast<size_t>(stage)].opened_ns; }
  size_t deaths(Stage stage) const { return storms_[static_cast<size_t>(stage)].deaths.size(); }

 private:
  struct Storm {
    std::deque<int64_t> deaths;
    int64_t opened_ns = 0;
  };
  const size_t intensity_;
  const int64_t period_ns_;
  const int64_t rest_ns_;
  StageBreakers states_ = {};
  std::array<Storm, kStageCount> storms_;
};

}  // namespace millrace
