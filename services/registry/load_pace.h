// How often a registry loads: some at once, then one in a while.
//
// Purpose: a catalog that is taken up is felt by all requests for some 15 ms, by few of them much.
//   Loads without end must not make that the usual state: kBurst of them begin as they come, then
//   one in each interval, until as many intervals have passed without a load.
// Who may call: the thread that builds. Ownership: none.
// Invariants: 1. in any stretch of n intervals at most n + kBurst loads begin. Nothing fails.
#pragma once

#include <stdint.h>

#include <algorithm>

namespace millrace {

class LoadPace {
 public:
  static constexpr int64_t kBurst = 8;

  // 0: loads begin as they come.
  explicit LoadPace(int64_t interval_ns) : interval_ns_(interval_ns) {}

  // Until the next may begin; 0: it may.
  int64_t WaitNs(int64_t now_ns) const {
    return std::max<int64_t>(paid_until_ns_ - (kBurst - 1) * interval_ns_ - now_ns, 0);
  }
  void Began(int64_t now_ns) { paid_until_ns_ = std::max(paid_until_ns_, now_ns) + interval_ns_; }

 private:
  int64_t interval_ns_;
  int64_t paid_until_ns_ = 0;  // each load pays for one interval
};

}  // namespace millrace
