#include "tools/bench/subjects/cpu_use.h"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "common/clock.h"
#include "tools/bench/subjects/process_stat.h"

namespace millrace {
int64_t ResidentKb(const std::vector<int>& pids) {
  int64_t kb = 0;
  for (const int pid : pids) {
    std::ifstream status("/proc/" + std::to_string(pid) + "/status");
    for (std::string line; std::getline(status, line);) {
      // File pages are left out: what processes share would be counted once for each.
      if (line.rfind("RssAnon:", 0) == 0) kb += atoll(line.c_str() + 8);
      if (line.rfind("RssShmem:", 0) == 0) kb += atoll(line.c_str() + 9);
    }
  }
  return kb;
}

CpuUse::Look CpuUse::Now() const {
  Look look;
  const std::map<pid_t, ProcessStat> all = AllProcesses();
  std::vector<pid_t> pids = ProcessTree(all, root_);
  pids.push_back(getpid());
  for (const pid_t pid : pids) {
    const auto found = all.find(pid);
    if (found == all.end()) continue;
    look.ticks[pid] = found->second.used_ticks;
    look.names[pid] = found->second.name;
  }
  std::ifstream file("/proc/stat");
  std::string word;
  file >> word;  // "cpu"
  // user nice system idle iowait irq softirq steal
  for (int field = 0; field < 8; ++field) {
    uint64_t ticks = 0;
    file >> ticks;
    (field == 3 || field == 4 ? look.idle : look.busy) += ticks;
  }
  look.at_ns = MonotonicNanos();
  return look;
}

void CpuUse::Begin() { begin_ = Now(); }

CpuUse::Report CpuUse::End() const {
  const Look end = Now();
  const double seconds =
      std::max<double>(static_cast<double>(end.at_ns - begin_.at_ns) / kNanosPerSecond, 1e-9);
  const double ticks_a_core = static_cast<double>(sysconf(_SC_CLK_TCK)) * seconds;
  Report report;
  double known = 0;
  for (const auto& [pid, ticks] : end.ticks) {
    const auto before = begin_.ticks.find(pid);
    const uint64_t used = ticks - (before == begin_.ticks.end() ? 0 : before->second);
    const double cores = static_cast<double>(used) / ticks_a_core;
    known += cores;
    if (pid == getpid()) {
      report.own += cores;
    } else {
      report.by_name[end.names.at(pid)] += cores;
    }
  }
  report.others = std::max(0.0, static_cast<double>(end.busy - begin_.busy) / ticks_a_core - known);
  report.idle = static_cast<double>(end.idle - begin_.idle) / ticks_a_core;
  return report;
}

}  // namespace millrace
