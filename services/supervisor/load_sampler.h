// How busy this machine is with what is not ours.
//
// Purpose: the figure that wait_policy.h decides by. Who may call: the supervisor's main thread;
//   Sample reads one file, and one for each process of ours, which takes some 100 µs: it is called
//   four times a second. Ownership: remembers the last sample's counts.
// Invariants:
//   1. Foreign load is what the allowed CPUs did (/proc/stat: user, nice, system, irq, softirq)
//   less
//      the time of our processes and of the children they have waited for. Steal is neither:
//      another machine's work takes a core away, but no way of waiting gives it back.
//   2. A process that ends moves its time to its parent's count of children, so nothing is counted
//      twice or lost. A child that nobody has waited for yet (a model's compiler) is foreign, as it
//      should be: it competes for the cores; its whole time comes off when it ends.
//   3. Linux charges /proc/stat by the tick that hits a thread and a process by the clock: a sample
//      of a quarter of a second is wrong by up to a tenth of a core, and never below 0.
// What fails: Sample gives nothing the first time, and where /proc cannot be read.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "common/cpu_list.h"
#include "services/supervisor/wait_policy.h"

namespace millrace {

class LoadSampler {
 public:
  // `proc`: "/proc", or a test's.
  LoadSampler(std::string proc, CpuList cpus) : proc_(std::move(proc)), cpus_(std::move(cpus)) {}

  // `ours`: every process of the server.
  std::optional<LoadLook> Sample(const std::vector<pid_t>& ours, int64_t now_ns);

 private:
  struct Counts {
    int64_t at_ns = 0;
    double busy_s = 0, ours_s = 0;
  };

  std::optional<double> BusySeconds() const;
  double SecondsOf(pid_t pid) const;

  const std::string proc_;
  const CpuList cpus_;
  std::optional<Counts> last_;
};

// Cores' worth of time that the control group of this process, or one above it, may use; nothing:
// without a limit. `root`: "/sys/fs/cgroup"; `self`: "/proc/self/cgroup".
std::optional<double> CgroupCores(const std::string& root, const std::string& self);

}  // namespace millrace
