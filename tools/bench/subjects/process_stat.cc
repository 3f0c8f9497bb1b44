#include "tools/bench/subjects/process_stat.h"

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace millrace {

std::optional<ProcessStat> ReadProcessStat(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  const size_t name_begins = text.find('('), name_ends = text.rfind(')');  // it may hold anything
  if (name_begins == std::string::npos || name_ends == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(name_ends + 1));
  std::string skipped;
  const auto skip = [&](int count) {
    for (; count > 0; --count) fields >> skipped;
  };
  ProcessStat stat;
  stat.name = text.substr(name_begins + 1, name_ends - name_begins - 1);
  uint64_t user_ticks = 0, system_ticks = 0;
  fields >> stat.state >> stat.parent;
  skip(1);  // group
  fields >> stat.session;
  skip(7);  // terminal to major faults of children
  fields >> user_ticks >> system_ticks;
  skip(6);  // children's times to the interval timer
  fields >> stat.started_ticks;
  stat.used_ticks = user_ticks + system_ticks;
  return stat;
}

std::map<pid_t, ProcessStat> AllProcesses() {
  std::map<pid_t, ProcessStat> all;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const pid_t pid = atoi(entry.path().filename().c_str());
    if (pid <= 0) continue;
    if (const auto stat = ReadProcessStat(pid)) all.emplace(pid, *stat);
  }
  return all;
}

std::vector<pid_t> ProcessTree(const std::map<pid_t, ProcessStat>& all, pid_t root) {
  std::vector<pid_t> tree;
  for (const auto& [pid, stat] : all) {
    pid_t at = pid;
    for (auto found = all.find(at); at > 1 && at != root && found != all.end();
         found = all.find(at)) {
      at = found->second.parent;
    }
    if (at == root) tree.push_back(pid);
  }
  return tree;
}

}  // namespace millrace
