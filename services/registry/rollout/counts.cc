#include "services/registry/rollout/counts.h"

#include <algorithm>

#include "ipc/stats_words.h"

namespace millrace {
namespace {

// gRPC's codes that say something of the version: not OK (0), cancelled (1), not found (5), exists
// already (6), not permitted (7), not authenticated (16).
constexpr std::array<size_t, 11> kErrors = {2, 3, 4, 8, 9, 10, 11, 12, 13, 14, 15};
constexpr size_t kInternal = 13;

uint64_t VersionCounts::*const kSums[] = {
    &VersionCounts::requests, &VersionCounts::errors,          &VersionCounts::internal,
    &VersionCounts::copies,   &VersionCounts::copies_failed,   &VersionCounts::rows,
    &VersionCounts::changed,  &VersionCounts::cosine_loss_ppm, &VersionCounts::rank_loss_ppm,
    &VersionCounts::ranked,
};
constexpr size_t kFirstOfComparisons = 3;

}  // namespace

uint64_t VersionCounts::answers() const {
  uint64_t all = 0;
  for (const uint64_t count : answered) all += count;
  return all;
}

VersionCounts CountsOf(absl::Span<const uint64_t> words) {
  VersionCounts counts;
  if (words.size() < kStatsWords) return counts;
  for (const size_t code : kErrors) counts.errors += words[StatsCodeAt(code)];
  counts.requests = words[StatsCodeAt(0)] + counts.errors;
  counts.internal = words[StatsCodeAt(kInternal)];
  const size_t times = StatsTimeAt(StatsTime::kTotal) + 1;
  std::copy_n(words.begin() + times, counts.answered.size(), counts.answered.begin());
  const auto sum = [&](StatsSum which) { return words[StatsSumAt(which)]; };
  counts.copies = sum(StatsSum::kShadowed);
  counts.copies_failed = sum(StatsSum::kShadowFailed);
  counts.rows = sum(StatsSum::kCompared);
  counts.changed = sum(StatsSum::kChanged);
  counts.cosine_loss_ppm = sum(StatsSum::kCosineLossPpm);
  counts.rank_loss_ppm = sum(StatsSum::kRankLossPpm);
  counts.ranked = sum(StatsSum::kRanked);
  return counts;
}

bool Since(const VersionCounts& then, const VersionCounts& now, VersionCounts* stretch) {
  for (const auto sum : kSums) {
    if (now.*sum < then.*sum) return false;
    stretch->*sum = now.*sum - then.*sum;
  }
  for (size_t i = 0; i < now.answered.size(); ++i) {
    if (now.answered[i] < then.answered[i]) return false;
    stretch->answered[i] = now.answered[i] - then.answered[i];
  }
  return true;
}

void AddComparisons(const VersionCounts& more, VersionCounts* to) {
  for (size_t i = kFirstOfComparisons; i < std::size(kSums); ++i) to->*kSums[i] += more.*kSums[i];
}

}  // namespace millrace
