// Work that lets others run at short intervals: for a compiler on cores that serve meanwhile.
//
// Purpose: to be of the lowest rank is not enough. Where the scheduler finds that who waits for the
//   core has had more than its share of late, it takes the compiler, and looks again at its next
//   tick, up to 4 ms later. One that yields makes it look each kPieceNs.
// Who may call: the compiler's main thread, once, before EnterSandbox with `yields`, and before any
//   other thread exists. Ownership: takes SIGALRM and the real-time interval timer.
// Invariants: 1. on a core that nobody else wants it loses nothing but the yields. 2. After
//   `for_ns` it keeps what it gets.
// Nothing fails; a kernel that refuses the timer leaves it without yields.
#pragma once

#include <stdint.h>

namespace millrace {

inline constexpr int64_t kPieceNs = 100'000;

void YieldOften(int64_t for_ns);

}  // namespace millrace
