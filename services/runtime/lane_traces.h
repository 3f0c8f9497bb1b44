// The trace rings of a process's lanes.
//
// Purpose: each lane has a ring (ipc/trace_ring.h) that the observer reads. It is no part of what a
//   process announces, and made after that: nobody waits for it. Its pages are entered when there
//   is time (page_entry.h).
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
#include "services/runtime/page_entry.h"

namespace millrace {

class LaneTraces {
 public:
  // `owner` lives as long as this.
  void Make(Lane* lane, const std::shared_ptr<const void>& owner, PageEntry* pages);

  bool any() const { return !rings_.empty(); }
  FromProcess Message() const;
  std::vector<int> fds() const;

 private:
  struct Ring {
    LaneId id;
    std::unique_ptr<TraceWriter> writer;
  };
  std::vector<Ring> rings_;
};

}  // namespace millrace
