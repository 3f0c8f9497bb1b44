// Whether requests wait too long, all of them: a controlled delay (CoDel) in shares of deadlines.
//
// Purpose: a queue is shed by how long it delays, not by how long it is. Who may call: the ingress
//   lane. Invariants: 1. a burst that drains within an interval sheds nothing: only the least delay
//   of a whole interval counts; 2. while it is over the target, whatever waited over twice the
//   target is to be dropped; 3. an interval in which the queue was empty is one without delay.
//   Delays are in thousandths of the time that the request was given.
// Nothing fails.
#pragma once

#include <stdint.h>

#include <algorithm>

namespace millrace {

class QueueDelay {
 public:
  static constexpr int64_t kTarget = 350;
  static constexpr int64_t kIntervalNs = 100'000'000;

  static int64_t Share(int64_t waited_ns, int64_t given_ns) {
    return given_ns <= 0 ? 1000 : waited_ns / std::max<int64_t>(given_ns / 1000, 1);
  }
  // A request left the queue for a worker, or the queue is empty (0).
  void Left(int64_t share, int64_t now_ns) {
    if (now_ns >= interval_end_ns_) {
      overloaded_ = interval_end_ns_ != 0 && least_ > kTarget;
      interval_end_ns_ = now_ns + kIntervalNs;
      least_ = share;
    }
    least_ = std::min(least_, share);
    if (least_ <= kTarget) overloaded_ = false;
  }
  bool overloaded() const { return overloaded_; }
  bool Drop(int64_t share) const { return overloaded_ && share > 2 * kTarget; }

 private:
  int64_t interval_end_ns_ = 0;
  int64_t least_ = 0;
  bool overloaded_ = false;
};

}  // namespace millrace
