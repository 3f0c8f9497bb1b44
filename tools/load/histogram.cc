#include "tools/load/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace millrace {

void Histogram::Add(int64_t ns) {
  constexpr int64_t kMostNs = (int64_t{1} << kMostBits) - 1;
  const int64_t value = std::clamp<int64_t>(ns, 0, kMostNs);
  ++counts_[BucketOf(static_cast<uint64_t>(value))];
  min_ns_ = count_ == 0 ? value : std::min(min_ns_, value);
  max_ns_ = std::max(max_ns_, value);
  sum_ns_ += static_cast<double>(value);
  ++count_;
}

double Histogram::mean_ns() const {
  return count_ == 0 ? 0 : sum_ns_ / static_cast<double>(count_);
}

int64_t Histogram::PercentileNs(double q) const {
  if (count_ == 0) return 0;
  // Nearest rank: the least value that at least this many values do not exceed. The subtraction
  // keeps a product such as 0.9 * 10 from becoming the rank 10.
  const double exact = std::ceil(q * static_cast<double>(count_) - 1e-6);
  const int64_t rank = std::clamp<int64_t>(static_cast<int64_t>(exact), 1, count_);
  int64_t below = 0;
  for (size_t b = 0; b < kBuckets; ++b) {
    below += counts_[b];
    if (below >= rank) return std::min(LastOf(b), max_ns_);
  }
  return max_ns_;
}

// Values below kSub have a bucket each; above, the power of two and the next kSubBits bits.
size_t Histogram::BucketOf(uint64_t value) {
  if (value < kSub) return static_cast<size_t>(value);
  const int shift = std::bit_width(value) - 1 - kSubBits;
  return static_cast<size_t>(static_cast<uint64_t>(shift) * kSub + (value >> shift));
}

int64_t Histogram::LastOf(size_t bucket) {
  if (bucket < kSub) return static_cast<int64_t>(bucket);
  const size_t shift = bucket / kSub - 1;
  return static_cast<int64_t>(((bucket - shift * kSub + 1) << shift) - 1);
}

}  // namespace millrace
