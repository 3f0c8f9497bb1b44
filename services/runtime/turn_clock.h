// The longest turn of a loop of late: how long a message could lie there at the worst.
//
// Purpose: a gauge of stalls, whatever they are made of: a long batch, a page fault, a core that
//   somebody else had. Who may call: a lane's thread. Ownership: a value.
// Invariants:
//   1. A turn lasts from one look around (Turned) to the next; one in which the loop slept counts
//      for nothing (Slept): nobody waits for a loop that wakes when there is work.
//   2. worst_ns is of the last kWindowNs to twice that: it goes up at once and comes down by
//   itself,
//      as long as somebody calls Turned.
// Nothing fails. It reads no clock: its callers have the time already.
#pragma once

#include <stdint.h>

#include <algorithm>

#include "common/clock.h"

namespace millrace {

class TurnClock {
 public:
  static constexpr int64_t kWindowNs = 10 * kNanosPerSecond;

  // The loop looks around now. True: worst_ns has changed.
  bool Turned(int64_t now_ns) {
    const int64_t before_ns = worst_ns();
    if (now_ns - window_ns_ >= kWindowNs) {
      last_window_ns_ = now_ns - window_ns_ < 2 * kWindowNs ? this_window_ns_ : 0;
      this_window_ns_ = 0;
      window_ns_ = now_ns;
    }
    if (looked_ns_ != 0) this_window_ns_ = std::max(this_window_ns_, now_ns - looked_ns_);
    looked_ns_ = now_ns;
    return worst_ns() != before_ns;
  }
  void Slept() { looked_ns_ = 0; }
  int64_t worst_ns() const { return std::max(this_window_ns_, last_window_ns_); }

 private:
  int64_t looked_ns_ = 0;  // last; 0: it slept since then
  int64_t window_ns_ = 0;  // when this one began
  int64_t this_window_ns_ = 0, last_window_ns_ = 0;
};

}  // namespace millrace
