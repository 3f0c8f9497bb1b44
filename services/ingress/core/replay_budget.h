// How many of the requests in flight may be replays.
//
// Purpose: deaths under load do not turn into a storm of work done twice. Who may call: the ingress
//   lane. Invariants: 1. a whole worker's window can always be replayed; 2. past that, replays are
//   a tenth of what is in flight at most. Nothing fails: Take says no.
#pragma once

#include <stddef.h>

#include <algorithm>

#include "common/check.h"

namespace millrace {

class ReplayBudget {
 public:
  explicit ReplayBudget(size_t window) : window_(window) {}

  bool Take(size_t in_flight) {
    if (used_ >= std::max(window_, in_flight / 10)) return false;
    ++used_;
    return true;
  }
  void GiveBack() {
    MR_CHECK(used_ > 0, "a replay is given back once");
    --used_;
  }
  size_t used() const { return used_; }

 private:
  const size_t window_;
  size_t used_ = 0;
};

}  // namespace millrace
