// What a process of this machine uses, from /proc.
//
// Purpose: CPU time and memory of each worker. Who may call: any thread.
// Nothing fails: a process that is gone has no use.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace millrace {

struct ProcessUse {
  double cpu_seconds = 0;
  uint64_t resident_bytes = 0;
  uint64_t threads = 0;
};

std::optional<ProcessUse> UseOf(pid_t pid, const std::string& proc = "/proc");

}  // namespace millrace
