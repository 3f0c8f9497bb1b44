// When a lane hangs, and what is done to its process.
//
// Purpose: tell a lane that does nothing any more from one that works long, and from a supervisor
//   that was itself late. Who may call: any thread; pure functions of what was seen.
// Invariants:
//   1. Only time in which the supervisor looked on time counts as silence: a stall of the machine
//      or of the supervisor adds one period at most, however long it was.
//   2. The limit is max(hang, 10 x predicted), and never more than kLongestHangNs, since the
//      predicted time is a peer's word.
//   3. Abort comes before kill (it leaves a core of the hang), except for a stopped process, which
//      would not take the abort.
#pragma once

#include <stdint.h>

#include "common/clock.h"

namespace millrace {

inline constexpr int64_t kLongestHangNs = 60 * kNanosPerSecond;
inline constexpr int64_t kAbortGraceNs = 200 * kNanosPerMilli;

// Silence of a lane after one more look, `elapsed_ns` after the last one.
int64_t SilenceAfter(int64_t silent_ns, bool beat_moved, int64_t elapsed_ns, int64_t period_ns);

enum class HangVerdict { kWait, kAbort, kKill };

struct HangLook {
  int64_t silent_ns = 0;
  int64_t hang_ns = 0;        // of the configuration
  uint64_t predicted_ns = 0;  // of the page; untrusted
  bool stopped = false;       // by a signal or a tracer
};

HangVerdict DecideHang(const HangLook& look);

}  // namespace millrace
