// What other programs use of the machine while something is measured.
//
// Purpose: a figure that somebody's compiler had a part in is no figure; who measures takes another
//   one. Who may call: one thread. Ownership: remembers what each process had used.
// Invariants: 1. Others are the processes that do not descend from `root`, without the kernel's own
//   threads; exact in short times, where the machine's own count (cpu_use.h) is not. 2. A process
//   that came and went between two looks is not seen.
// Nothing fails.
#pragma once

#include <sys/types.h>

#include <map>

#include "tools/bench/subjects/process_stat.h"

namespace millrace {

class ForeignTime {
 public:
  explicit ForeignTime(pid_t root) : root_(root), last_(AllProcesses()) {}

  // Seconds of processor time that others used since the last call, or since this object was made.
  double TakeSeconds();

 private:
  const pid_t root_;
  std::map<pid_t, ProcessStat> last_;
};

}  // namespace millrace
