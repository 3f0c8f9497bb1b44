// Fleet: the trace rings of lanes, handed on to the observer.
//
// They are not stored: a process says again to the next supervisor what it has.
#include <algorithm>

#include "services/supervisor/fleet.h"
#include "services/supervisor/stage_table.h"

namespace millrace {

void Fleet::OnTraces(FleetProcess* process, const Traces& traces, std::vector<Fd> fds) {
  if (static_cast<size_t>(traces.lanes_size()) != fds.size() || !HasLanes(process->stage)) {
    process->condemned = "gave traces that cannot be right";
    return;
  }
  for (size_t i = 0; i < fds.size(); ++i) {
    const uint32_t incarnation = traces.lanes(static_cast<int>(i)).incarnation();
    const auto lane =
        std::find_if(process->lanes.begin(), process->lanes.end(),
                     [&](const FleetLane& known) { return known.incarnation == incarnation; });
    if (lane == process->lanes.end()) {
      process->condemned = "gave traces of a lane that is not its own";
      return;
    }
    lane->traces = std::make_shared<const Fd>(std::move(fds[i]));
  }
}

void Fleet::TellTraces(FleetProcess* observer) {
  ToProcess message;
  FdList fds;
  std::vector<uint64_t> told;
  message.mutable_observe_traces();
  for (const auto& [key, process] : processes_) {
    for (const FleetLane& lane : process.lanes) {
      if (lane.traces == nullptr) continue;
      LaneName* name = message.mutable_observe_traces()->add_lanes();
      name->set_incarnation(lane.incarnation);
      name->set_stage(static_cast<uint32_t>(process.stage));
      name->set_index(process.index);
      name->set_lane(lane.lane);
      fds.push_back(lane.traces);
      told.push_back(lane.incarnation);
    }
  }
  if (observer->told_traces == told) return;
  Send(observer, message, fds);
  observer->told_traces = std::move(told);
}

}  // namespace millrace
