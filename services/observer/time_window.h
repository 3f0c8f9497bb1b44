// What lies between two readings of counters and histograms.
//
// Purpose: rates and quantiles of an interval. Who may call: any thread; pure.
// Invariants: 1. words that went back (no honest page's do) count as nothing. 2. a quantile lies in
//   the bucket that holds it; what is above the last edge is told as that edge.
// Nothing fails.
#pragma once

#include <stdint.h>

#include <array>
#include <optional>

#include "ipc/stats_words.h"

namespace millrace {

using TimeWords = std::array<uint64_t, kTimeWords>;  // a histogram: its sum, its buckets

inline uint64_t Grown(uint64_t now, uint64_t before) { return now > before ? now - before : 0; }

struct TimeWindow {
  uint64_t count = 0;
  uint64_t sum_ns = 0;
  std::optional<int64_t> p50_ns, p99_ns;  // none: nothing was timed
};

// Adds what `now` has more than `before` (null: all of it) to `window`.
void AddGrown(const uint64_t* now, const uint64_t* before, TimeWords* window);
TimeWindow Summarize(const TimeWords& window);

}  // namespace millrace
