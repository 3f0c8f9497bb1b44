// What the kernel says of a process: /proc/PID/stat (proc(5)).
//
// Purpose: who belongs to whom, and who used the machine. Who may call: anyone.
// Nothing fails: of a process that is gone there is nothing.
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace millrace {

struct ProcessStat {
  std::string name;  // of the program, 15 bytes of it
  char state = 0;
  pid_t parent = 0;
  pid_t session = 0;        // 0: a thread of the kernel
  uint64_t used_ticks = 0;  // user's and system's time of its threads, 1 / sysconf(_SC_CLK_TCK) s
  uint64_t started_ticks = 0;  // after the machine's start
};

std::optional<ProcessStat> ReadProcessStat(pid_t pid);
std::map<pid_t, ProcessStat> AllProcesses();

// Of `all`: `root` and all that descend from it, if it is there.
std::vector<pid_t> ProcessTree(const std::map<pid_t, ProcessStat>& all, pid_t root);

}  // namespace millrace
