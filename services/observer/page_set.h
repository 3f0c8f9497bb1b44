// What there is to observe: every lane's page, the sums of the dead, and what the supervisor says.
//
// Purpose: the control thread puts in what the supervisor sends; whoever serves metrics takes a
//   whole picture. Who may call: any thread.
// Ownership: owns the mappings, which are read-only.
// Invariants:
//   1. A picture holds each incarnation once: its page, or the sums that it was added to. A page
//   goes in
//      the same step in which its sums come, so that no sum of a picture is less than in the one
//      before.
//   2. A page that is refused (another build's, not sealed) is left out and counted.
// Nothing fails.
#pragma once

#include <stdint.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "ipc/control.pb.h"
#include "ipc/page.h"
#include "ipc/stats.h"
#include "ipc/stats_sums.pb.h"
#include "ipc/topology.h"

namespace millrace {

struct ObservedLane {
  Stage stage = Stage::kNone;
  uint32_t index = 0, lane = 0, incarnation = 0;
  std::shared_ptr<const Region> region;

  const Page& page() const { return *region->as<const Page>(); }
};

struct Picture {
  std::vector<ObservedLane> lanes;
  std::shared_ptr<const StatsSums> sums;  // never null
  FleetView view;
  int64_t view_at_ns = 0;  // when it came; 0: none did
  uint64_t refused = 0;    // pages
};

// The observer's own, by its pid; "0" while the supervisor has not named it.
std::string OwnIncarnation(const Picture& picture);

class PageSet {
 public:
  // `fds`: as in ipc/control.proto.
  void Observe(const millrace::Observe& message, const std::vector<Fd>& fds);
  void View(const FleetView& view, int64_t now_ns);
  Picture Take() const;

 private:
  mutable std::mutex mutex_;
  Picture picture_{{}, std::make_shared<const StatsSums>(), {}, 0, 0};
};

}  // namespace millrace
