// What was counted of a version in a stretch of time, as the judge needs it.
//
// Purpose: from the words that ingress counts by (ipc/stats_words.h) to the few sums that a rollout
//   is judged by. Who may call: any thread.
// Invariants: 1. sums since the start in, sums of the stretch out: Since subtracts. 2. A request
// that
//   its client cancelled, or that was refused for who asked, is not counted: neither is the
//   version's.
// Nothing fails: words that are too few leave zeros.
#pragma once

#include <stdint.h>

#include <algorithm>
#include <array>

#include "absl/types/span.h"
#include "common/time_edges.h"

namespace millrace {

struct VersionCounts {
  uint64_t requests = 0;
  uint64_t errors = 0;    // of these
  uint64_t internal = 0;  // of the errors: workers that died of it, and what should not happen
  std::array<uint64_t, kTimeEdges + 1> answered = {};  // OK answers by their time
  // Of copies that went to this version.
  uint64_t copies = 0;
  uint64_t copies_failed = 0;
  uint64_t rows = 0;  // compared
  uint64_t changed = 0;
  uint64_t cosine_loss_ppm = 0;
  uint64_t rank_loss_ppm = 0;
  uint64_t ranked = 0;

  uint64_t answers() const;
  // Copies that were compared, each of them once, however many rows it had. Those whose client had
  // no answer, or that are on their way, are in neither.
  uint64_t compared() const {
    return std::min(copies > copies_failed ? copies - copies_failed : 0, rows);
  }
};

VersionCounts CountsOf(absl::Span<const uint64_t> words);

// False: a sum went back, so that nothing can be said (another server's sums).
bool Since(const VersionCounts& then, const VersionCounts& now, VersionCounts* stretch);

// Adds the comparisons of `more`.
void AddComparisons(const VersionCounts& more, VersionCounts* to);

}  // namespace millrace
