// Counts of latencies in buckets of less than one per cent, in memory of a fixed size.
//
// Purpose: percentiles of millions of round trips, kept in memory that a parent can read.
// Who may call: one thread at a time. Invariant: 1. the buckets of a power of two are 128, so that
//   a percentile is never above its bucket's end, which is within 1/128 of what was added.
// Nothing fails: what is longer than an hour counts as an hour.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <algorithm>
#include <bit>

namespace millrace::bench {

class LatencyHistogram {
 public:
  void Clear() { *this = {}; }

  void Add(int64_t ns) {
    const uint64_t value = std::min(static_cast<uint64_t>(std::max<int64_t>(ns, 0)), kMostNs);
    ++counts_[BucketOf(value)];
    ++total_;
  }

  uint64_t total() const { return total_; }

  // The last value of the bucket in which the share `p` of all lies; 0 of none.
  int64_t PercentileNs(double p) const {
    const auto rank = static_cast<uint64_t>(p * static_cast<double>(total_));
    uint64_t below = 0;
    for (size_t bucket = 0; bucket < kBuckets; ++bucket) {
      below += counts_[bucket];
      if (below > rank || (below == total_ && total_ > 0)) return LastOf(bucket);
    }
    return 0;
  }

 private:
  static constexpr int kSubBits = 7;
  static constexpr uint64_t kSub = 1 << kSubBits;
  static constexpr uint64_t kMostNs = (uint64_t{1} << 42) - 1;
  static constexpr size_t kBuckets = (42 - kSubBits + 1) * kSub;

  // Values below kSub have a bucket each; above, the power of two and the next kSubBits bits.
  static size_t BucketOf(uint64_t value) {
    if (value < kSub) return value;
    const int shift = std::bit_width(value) - 1 - kSubBits;
    return static_cast<size_t>((static_cast<uint64_t>(shift) + 1) * kSub + (value >> shift) - kSub);
  }
  static int64_t LastOf(size_t bucket) {
    if (bucket < kSub) return static_cast<int64_t>(bucket);
    const uint64_t shift = bucket / kSub - 1;
    return static_cast<int64_t>(((bucket % kSub + kSub + 1) << shift) - 1);
  }

  uint32_t counts_[kBuckets] = {};
  uint64_t total_ = 0;
};

}  // namespace millrace::bench
