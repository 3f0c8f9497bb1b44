// What a process of this machine uses, from /proc.
//
// Purpose: CPU time, waiting for it, and memory of each worker. Who may call: any thread.
// Ownership: RunDelays holds a number for each thread of processes that it was asked about.
// Invariant: a process's run delay never goes back, though the kernel counts by thread and forgets
//   those that ended; what one waited after it was looked at last is lost with it.
// Nothing fails: a process that is gone has no use.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace millrace {

struct ProcessUse {
  double cpu_seconds = 0;
  uint64_t resident_bytes = 0;
  uint64_t threads = 0;
  // That its threads could have run and waited for a core; none: not asked, or not known.
  std::optional<double> run_delay_seconds{};
};

std::optional<ProcessUse> UseOf(pid_t pid, const std::string& proc = "/proc");

// UseOf with run_delay_seconds.
class RunDelays {
 public:
  static constexpr size_t kMostProcesses = 256;  // beyond them it begins anew

  explicit RunDelays(std::string proc = "/proc") : proc_(std::move(proc)) {}
  std::optional<ProcessUse> UseOf(pid_t pid);

 private:
  struct OfProcess {
    std::map<pid_t, uint64_t> threads;  // as read last, in ns
    uint64_t ended_ns = 0;
  };
  std::optional<double> Read(pid_t pid);

  const std::string proc_;
  std::mutex mutex_;
  std::map<pid_t, OfProcess> processes_;
};

}  // namespace millrace
