// How fast requests leave, and how long a queue takes at that.
//
// Purpose: the prediction behind admission and behind what refused clients are told. Who may call:
//   the ingress lane. Invariants: 1. only times in which requests waited count: an idle server's
//   rate says nothing of what it can do; 2. unknown is 0, and refuses nobody;
//   3. what it refuses makes it smaller.
// Nothing fails.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <algorithm>

namespace millrace {

class DrainRate {
 public:
  static constexpr int64_t kIntervalNs = 50'000'000;
  static constexpr int64_t kMostHintMs = 10'000;

  void Answered() { ++answered_; }
  // Workers came or went: the interval says nothing of those that are there now.
  void Restart() { begin_ns_ = 0; }
  // Each refusal that it causes wears it away, so that a stall cannot keep everybody out.
  void Refused() { each_ns_ -= each_ns_ / 8; }
  // As often as the lane turns. `waiting`: whether somebody waits for a worker.
  void Tick(int64_t now_ns, bool waiting) {
    if (!waiting) {
      begin_ns_ = 0;
      return;
    }
    if (begin_ns_ == 0) {
      begin_ns_ = now_ns;
      answered_ = 0;
    }
    if (now_ns - begin_ns_ < kIntervalNs || answered_ < kFewest) return;
    const int64_t each = (now_ns - begin_ns_) / answered_;
    each_ns_ = each_ns_ == 0 ? each : each_ns_ + (each - each_ns_) / 4;
    begin_ns_ = now_ns;
    answered_ = 0;
  }
  int64_t DelayNs(size_t requests) const { return each_ns_ * static_cast<int64_t>(requests); }
  // When a refused client is to come back; 0: nothing is known.
  int64_t HintMs(size_t in_flight) const {
    if (each_ns_ == 0) return 0;
    return std::clamp<int64_t>(DelayNs(in_flight) / 1'000'000, 1, kMostHintMs);
  }

 private:
  static constexpr int64_t kFewest = 4;

  int64_t begin_ns_ = 0;
  int64_t answered_ = 0;
  int64_t each_ns_ = 0;
};

}  // namespace millrace
