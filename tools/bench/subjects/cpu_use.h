// Who used the CPUs of this machine while something was measured.
//
// Purpose: a server that shares cores with its load generator is not to be blamed, nor excused, by
//   guess. Who may call: a bench. Ownership: none.
// Invariants: 1. times are the kernel's, in its ticks: of some seconds, good to a percent or two.
//   2. A process that began or ended in between counts from its begin, or not at all.
// What fails: nothing; what cannot be read is 0.
#pragma once

#include <stdint.h>

#include <map>
#include <string>
#include <vector>

namespace millrace {

// Anonymous and shared memory, resident, of these processes together.
int64_t ResidentKb(const std::vector<int>& pids);

class CpuUse {
 public:
  // Cores kept busy since Begin.
  struct Report {
    std::map<std::string, double> by_name;  // of the tree, by the programs' names
    double own = 0;                         // of this process
    double others = 0;                      // of all the rest
    double idle = 0;
  };

  explicit CpuUse(int root) : root_(root) {}
  void Begin();
  Report End() const;

 private:
  struct Look {
    std::map<int, uint64_t> ticks;  // by process, of the tree and this one
    std::map<int, std::string> names;
    uint64_t busy = 0, idle = 0;  // of the machine
    int64_t at_ns = 0;
  };
  Look Now() const;

  const int root_;
  Look begin_;
};

}  // namespace millrace
