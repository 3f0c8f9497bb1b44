// How a process lets its death be seen at once.
//
// Purpose: the supervisor learns of a death in 0.2 ms whatever the size of the process, and of a
//   fatal signal before the core dump. Who may call: HoldLiveness the main thread, once, before
//   other threads.
// Invariants:
//   1. The page's liveness word holds tid | FUTEX_WAITERS from Hold on; when the main thread ends
//      for any reason, the kernel sets FUTEX_OWNER_DIED in it and wakes one waiter (robust futex).
//   2. A fatal signal first stores state kDying and its number in the page and wakes the waiter,
//      then tells where its threads stand (stacks.h) and takes its default action. EndDying, with
//      its reason, tells no stacks.
//   3. The main thread holds no robust mutex of the C library (Hold replaces its robust list).
// What fails: nothing; a kernel that refuses is a broken invariant.
#pragma once

#include "ipc/page.h"

namespace millrace {

// `page` must stay mapped for the life of the process.
void HoldLiveness(Page* page);

// Ends the process with `exit_code`, from any thread, after its page says why. For errors that no
// part of the process can outlive, such as a device's.
[[noreturn]] void EndDying(uint32_t reason, int exit_code);

}  // namespace millrace
