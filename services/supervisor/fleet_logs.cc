// Fleet: the log rings of processes, handed on to the observer with our own.
//
// They are not stored: a process says again to the next supervisor what it has. That of a process
// that ended stays until an observer has been told of it, so that its last lines are read, too.
#include <algorithm>

#include "services/supervisor/fleet.h"

namespace millrace {

void Fleet::OnLogs(FleetProcess* process, const Logs& logs, std::vector<Fd> fds) {
  if (fds.size() != 1) {
    process->condemned = "gave logs that cannot be right";
    return;
  }
  process->logs = {std::make_shared<const Fd>(std::move(fds[0])), logs.pid()};
}

void Fleet::KeepLogs(const FleetProcess& process) {
  if (process.logs.fd == nullptr || !setup_.observer) return;
  ended_logs_.push_back({ProcessName(process.stage, process.index), process.key, process.logs});
  if (ended_logs_.size() > kMostEndedLogs) ended_logs_.erase(ended_logs_.begin());
}

void Fleet::TellLogs(FleetProcess* observer) {
  std::vector<NamedLog> logs;
  if (setup_.own_log.fd != nullptr) logs.push_back({"supervisor", 0, setup_.own_log});
  for (const auto& [key, process] : processes_) {
    if (process.logs.fd == nullptr) continue;
    logs.push_back({ProcessName(process.stage, process.index), key, process.logs});
  }
  logs.insert(logs.end(), ended_logs_.begin(), ended_logs_.end());
  std::vector<uint64_t> told;
  for (const NamedLog& log : logs) told.push_back(uint64_t{log.incarnation} << 32 | log.ring.pid);
  // Those that ended are named once more; the next message, without them, has them read to their
  // end.
  ended_logs_.clear();
  if (observer->told_logs == told) return;
  ToProcess message;
  FdList fds;
  message.mutable_observe_logs();
  for (NamedLog& log : logs) {
    ObserveLogs::Ring* ring = message.mutable_observe_logs()->add_rings();
    ring->set_process(std::move(log.process));
    ring->set_pid(log.ring.pid);
    ring->set_incarnation(log.incarnation);
    fds.push_back(std::move(log.ring.fd));
  }
  Send(observer, message, fds);
  observer->told_logs = std::move(told);
}

}  // namespace millrace
