// The windows that workers grant this ingress lane, and the choice of workers for a request.
//
// Purpose: admission takes a unit at every worker of a route, or nothing at all. Who may call: the
//   ingress lane. Invariants: 1. what is taken at a worker never passes kWindowUnits or the
//   window's bytes; 2. Take is all or nothing; 3. a worker that ended takes its window with it;
//   4. nothing is taken before the supervisor said that this lane is linked with every worker.
// What fails: Take gives nothing where no ready worker of a stage has room, or before the lane is
//   linked.
#pragma once

#include <boost/container/static_vector.hpp>
#include <optional>
#include <vector>

#include "ipc/ledger.h"
#include "ipc/window.h"
#include "services/ingress/core/quiescence.h"
#include "services/runtime/lane.h"

namespace millrace {

// What a request needs at one stage.
struct StageNeed {
  Stage stage = Stage::kNone;
  uint32_t units = 1;
  size_t block_bytes = 0;  // of the result there, for each unit that makes one
  uint32_t blocks = 1;
};

// A route: a use for each of its workers, in the direction of the request.
using Route = boost::container::static_vector<WindowUse, kMaxMembers + 2>;
using StageNeeds = boost::container::static_vector<StageNeed, kMaxMembers + 2>;

class Windows {
 public:
  Windows(const Lane* lane, const Config& config);

  // A worker for each need, in their order, with its units taken; several needs of one stage may
  // fall on one worker.
  // False, and an empty route, if any is impossible now.
  bool Take(absl::Span<const StageNeed> needs, Route* route);
  void GiveBack(const WindowUse& use);

  void WorkerUp(uint32_t incarnation);
  void WorkerLost(uint32_t incarnation);

  // The least queue delay that a ready worker of the stage tells, while it has a queue; 0 without.
  uint64_t QueueDelayNs(Stage stage) const;
  bool HasReady(Stage stage) const;
  // Bytes as a window counts them; 0: no block is that large.
  uint32_t BlockBytes(size_t bytes) const { return shape_.BlockBytes(bytes); }

 private:
  struct Used {
    uint32_t worker = 0;  // incarnation
    uint32_t units = 0;
    uint64_t bytes = 0;
  };
  Used* Find(uint32_t worker);
  // Whether every worker that is ready knows this lane. A worker further down the route that has
  // not mapped its ledger yet would take its requests for a dead lane's, and drop them.
  bool Linked() const;
  Used* Choose(const StageNeed& need, uint64_t bytes);

  const Lane* lane_;
  ArenaShape shape_;
  uint64_t window_bytes_;
  std::vector<Used> uses_;  // of the workers that are there: few
};

}  // namespace millrace
