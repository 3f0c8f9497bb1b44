// Threads of a test on cores of their own: what takes turns on one core does not race.
//
// Purpose: two threads meet within nanoseconds, also on a machine that is busy otherwise. Who may
//   call: a test's thread, for itself. Invariants: none. Nothing fails: where there is one core
//   only, the thread stays where it is.
#pragma once

#include <sched.h>

namespace millrace {

// Of the cores that the process could use at the first call, the one with this number, from 0.
inline void RunOnCore(int which) {
  // Asked once: a thread that was made by one on a core of its own is there too.
  static const cpu_set_t allowed = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof set, &set);
    return set;
  }();
  cpu_set_t one;
  if (CPU_COUNT(&allowed) < 2) return;
  CPU_ZERO(&one);
  for (int cpu = 0, nth = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &allowed) && nth++ == which) CPU_SET(cpu, &one);
  }
  sched_setaffinity(0, sizeof one, &one);
}

}  // namespace millrace
