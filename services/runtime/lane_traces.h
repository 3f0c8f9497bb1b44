// The trace rings of a process's lanes, made when there is time for it.
//
// Purpose: each lane has a ring (ipc/trace_ring.h) that the observer reads. It is no part of what a
//   process announces: a worker that comes in another's stead serves first, and traces then.
// Who may call: the control thread. Ownership: owns the rings; lanes outlive the process's threads,
//   and this outlives the lanes' use of them. Invariants:
//   1. A lane uses its ring only after Make has posted it; without one it traces nothing.
//   2. Message and fds belong together, and may be said again to another supervisor.
// What fails: a ring for which there is no memory; it is logged, and that lane traces nothing.
#pragma once

#include <memory>
#include <vector>

#include "ipc/control.pb.h"
#include "ipc/trace_ring.h"
#include "services/runtime/lane.h"

namespace millrace {

class LaneTraces {
 public:
  // Before Make.
  void Want(Lane* lane) { lanes_.push_back(lane); }
  bool waiting() const { return !made_ && !lanes_.empty(); }
  void Make();

  bool any() const { return !rings_.empty(); }
  FromProcess Message() const;
  std::vector<int> fds() const;

 private:
  struct Ring {
    LaneId id;
    std::unique_ptr<TraceWriter> writer;
  };
  std::vector<Lane*> lanes_;
  std::vector<Ring> rings_;
  bool made_ = false;
};

}  // namespace millrace
