// Units of windows whose request did not end by its own answer, until it is sure that no worker
// holds anything of them any more.
//
// Purpose: an answer tells that every worker on its route is done with it. A request that was
//   cancelled, expired or replayed has no such answer: its units wait here for a round of epochs.
// A round goes through the stages in the direction in which requests flow. For each it counts the
//   lane's epoch up and waits until every live worker of the stage answers it: then nothing of what
//   was sent before is with that stage, and what it had passed on is visible to the next.
// Who may call: the ingress lane. Invariants:
//   1. A unit is given back once, after its worker answered an epoch begun after the unit came
//   here,
//      and after all stages before it did.
//   2. A worker that has ended counts as having answered.
// Nothing fails.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <array>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "ipc/topology.h"

namespace millrace {

struct WindowUse {
  uint32_t worker = 0;  // incarnation
  Stage stage = Stage::kNone;
  uint32_t units = 0;
  uint64_t bytes = 0;
};

struct WorkerAnswer {
  Stage stage = Stage::kNone;
  uint32_t epoch = 0;  // the newest of this lane's that it answered
};

class Quiescence {
 public:
  void Add(const WindowUse& use) { next_.push_back(use); }

  // Looks at the answers of all live workers. Appends to `freed` what is given back now. Returns
  // the epoch to publish where a new one begins.
  std::optional<uint32_t> Step(absl::Span<const WorkerAnswer> workers,
                               std::vector<WindowUse>* freed);

  size_t waiting() const { return next_.size() + round_.size(); }
  bool active() const { return stage_at_ < kOrder.size() || !next_.empty(); }

 private:
  static constexpr std::array<Stage, 3> kOrder = {Stage::kFeatures, Stage::kExecution,
                                                  Stage::kAggregation};
  uint32_t epoch_ = 0;
  size_t stage_at_ = kOrder.size();  // of the round; kOrder.size(): none runs
  std::vector<WindowUse> round_;
  std::vector<WindowUse> next_;
};

}  // namespace millrace
