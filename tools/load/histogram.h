// A log-linear histogram of latencies.
//
// Purpose: percentiles of any number of requests in memory of a fixed size. Who may call: one
//   thread at a time. Ownership: it owns its counts.
// Invariants: 1. a power of two has 256 buckets of one width, so a percentile is never below the
//   true one (nearest rank) and less than 1/256 above it. 2. count, sum, least and most are exact.
// What fails: nothing; a negative value counts as 0, one above 2^42 ns (73 minutes) as that.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <vector>

namespace millrace {

class Histogram {
 public:
  Histogram() : counts_(kBuckets) {}

  void Add(int64_t ns);

  int64_t count() const { return count_; }
  int64_t min_ns() const { return count_ == 0 ? 0 : min_ns_; }
  int64_t max_ns() const { return max_ns_; }
  double mean_ns() const;
  // The value below or at which the share `q` (0 to 1) of all lies; 0 of none.
  int64_t PercentileNs(double q) const;

 private:
  static constexpr int kSubBits = 8;
  static constexpr uint64_t kSub = uint64_t{1} << kSubBits;
  static constexpr int kMostBits = 42;
  static constexpr size_t kBuckets = (kMostBits - kSubBits + 1) * kSub;

  static size_t BucketOf(uint64_t value);
  static int64_t LastOf(size_t bucket);

  std::vector<int64_t> counts_;
  int64_t count_ = 0;
  int64_t min_ns_ = 0;
  int64_t max_ns_ = 0;
  double sum_ns_ = 0;
};

}  // namespace millrace
