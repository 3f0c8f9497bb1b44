// Work that must not be felt by what serves, on the same cores.
//
// Purpose: a thread, or a child, that gives way: to be told once, before the work.
// Who may call: any thread. Ownership: none.
// Invariants: 1. nothing here needs privileges. 2. What the kernel refuses is left as it was: only
//   latency depends on it.
// What fails: nothing.
#pragma once

#include <sys/types.h>

namespace millrace {

// The calling thread wakes without taking the core from another, and gives it to one that wakes
// with a shorter slice, which are all that ask for none (before Linux 6.12: as soon as the
// scheduler finds that fair). Threads that it makes inherit it.
void GiveWay();
// Besides, it has the smallest share of the core that a thread can have while others want it: for
// one that has nothing urgent to do, ever. It can be taken back with privileges only.
void GiveWayForGood();

// A thread that gives way calls it between two pieces of work of some 100 us each: whoever waits
// for the core has it now, and not when the scheduler looks next, up to 4 ms later, because it had
// more than its share before. Any other goes on.
void LetOthersRun();

// That process runs when nobody else wants the core. It can be taken back with privileges only.
// Where the kernel shares the core between sessions first (sched_autogroup_enabled), this holds
// within its own.
void RunWhenIdle(pid_t process);
// As far as is allowed: a small share of the core, whoever else wants it.
void RunALittle(pid_t process);

}  // namespace millrace
