#include "tools/bench/subjects/cpu_use.h"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "common/clock.h"

namespace millrace {
namespace {

struct StatLine {
  std::string name;
  int parent = 0;
  uint64_t ticks = 0;  // user and system
};

StatLine ReadStat(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  StatLine line;
  const size_t open = text.find('('), close = text.rfind(')');
  if (open == std::string::npos || close == std::string::npos) return line;
  line.name = text.substr(open + 1, close - open - 1);
  std::istringstream rest(text.substr(close + 1));
  std::string word;
  // proc(5): state is field 3, the parent 4, utime 14, stime 15.
  for (int field = 3; field <= 15 && rest >> word; ++field) {
    if (field == 4) line.parent = atoi(word.c_str());
    if (field >= 14) line.ticks += strtoull(word.c_str(), nullptr, 10);
  }
  return line;
}

}  // namespace

std::vector<int> ProcessTree(int root) {
  std::map<int, int> parents;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const int pid = atoi(entry.path().filename().c_str());
    if (pid > 0) parents[pid] = ReadStat(pid).parent;
  }
  std::vector<int> tree;
  for (const auto& [pid, parent] : parents) {
    int at = pid;
    while (at > 1 && at != root && parents.count(at) > 0) at = parents[at];
    if (at == root) tree.push_back(pid);
  }
  return tree;
}

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
  std::vector<int> pids = ProcessTree(root_);
  pids.push_back(getpid());
  for (const int pid : pids) {
    const StatLine line = ReadStat(pid);
    look.ticks[pid] = line.ticks;
    look.names[pid] = line.name;
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
