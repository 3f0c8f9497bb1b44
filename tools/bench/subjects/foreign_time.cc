#include "tools/bench/subjects/foreign_time.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

namespace millrace {

double ForeignTime::TakeSeconds() {
  std::map<pid_t, ProcessStat> now = AllProcesses();
  const std::vector<pid_t> ours = ProcessTree(now, root_);
  uint64_t ticks = 0;
  for (const auto& [pid, stat] : now) {
    const bool kernels = stat.session == 0;
    if (kernels || std::find(ours.begin(), ours.end(), pid) != ours.end()) continue;
    const auto before = last_.find(pid);
    const bool same = before != last_.end() && before->second.started_ticks == stat.started_ticks;
    ticks += stat.used_ticks - (same ? before->second.used_ticks : 0);
  }
  last_ = std::move(now);
  return static_cast<double>(ticks) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace millrace
