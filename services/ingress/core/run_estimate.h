// How long a model's batches run, as admission expects it.
//
// Purpose: a request that cannot finish by its deadline is refused before it costs anything.
// Who may call: the ingress lane. Invariants: 1. a moving average over the last answers: each
// counts
//   an eighth; 2. each refusal that it causes makes it an eighth smaller, so that a few slow
//   batches cannot keep everybody out: soon one is let in, and measured.
// Nothing fails.
#pragma once

#include <stdint.h>

#include <algorithm>

namespace millrace {

class RunEstimate {
 public:
  // In all stages, without queues; 0 before the first answer.
  int64_t ns() const { return ns_; }
  void Ran(uint64_t run_ns) {
    const auto ran = static_cast<int64_t>(std::min(run_ns, kMostNs));
    ns_ = known_ ? ns_ + (ran - ns_) / 8 : ran;
    known_ = true;
  }
  void Refused() { ns_ -= ns_ / 8; }

 private:
  static constexpr uint64_t kMostNs = uint64_t{1} << 50;
  int64_t ns_ = 0;
  bool known_ = false;
};

}  // namespace millrace
