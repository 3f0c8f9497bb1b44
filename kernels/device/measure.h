// Which batches are the device's: measured at warm-up, for each plan.
//
// Purpose: batches fall into buckets (powers of two). Both kernels run each bucket a few times;
//   from one bucket on, the crossover, batches go to the device.
// Who may call: one thread a kernel, off the path of requests; the kernels may serve meanwhile.
// Invariants:
//   1. It is bounded: a side runs a bucket only where twice the time of the bucket before lies
//      within side_ns; one that is skipped stands at that estimate. No bucket is begun after
//      total_ns.
//   2. Equal, or nearly so (kAdvantage), is the CPU's.
//   3. The device's margins were compared with the CPU's in each bucket that both ran (`exact`).
// Fails: with the device kernel's own status, and FailedPrecondition where its margins differ.
#pragma once

#include <stdint.h>

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/kernel.h"

namespace millrace {

struct Bucket {
  uint64_t rows = 0;  // a power of two, or the largest batch; holds those above the bucket before
  int64_t cpu_ns = 0;
  int64_t device_ns = 0;
  bool cpu_estimated = false;  // not run: twice the bucket before
  bool device_estimated = false;
};

struct MeasureLimits {
  int64_t side_ns = 50'000'000;  // for one bucket on one side
  int64_t total_ns = 1'000'000'000;
  uint64_t input_bytes = 64 << 20;
  bool exact = true;  // margins must be bit-equal
  std::function<int64_t()> now_ns;
};

// 1, 2, 4, ... up to `max_rows`, which is the last even where it is no power of two.
std::vector<uint64_t> BucketRows(uint64_t max_rows);

// The place of the first bucket that is the device's; buckets.size(): none is. It is where the sum
// of the logarithms of all buckets' times is least, so that one bad reading does not decide.
size_t ChooseCrossover(absl::Span<const Bucket> buckets);

// A device must be this much faster than the CPU to be worth its queue and its copies.
inline constexpr double kAdvantage = 1.1;

// Rows that walk this plan's trees as rows of its users would: values near its thresholds, its
// categories, some missing. Fails as TreePlan::Open.
absl::StatusOr<std::vector<float>> PlausibleRows(absl::Span<const std::byte> image, size_t rows,
                                                 uint32_t seed);

// `rows`: PlausibleRows, as many as fit; larger buckets are not measured.
absl::StatusOr<std::vector<Bucket>> MeasureBuckets(const Kernel& cpu, const Kernel& device,
                                                   uint64_t max_rows, absl::Span<const float> rows,
                                                   const MeasureLimits& limits);

}  // namespace millrace
