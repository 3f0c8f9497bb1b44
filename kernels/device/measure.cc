#include "kernels/device/measure.h"

#include <string.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "kernels/plan/tree_plan.h"

namespace millrace {
namespace {

constexpr int kRuns = 5;
constexpr size_t kScratchAlign = 64;

// One side of the comparison: its memory, and its time for a bucket.
class Side {
 public:
  Side(const Kernel& kernel, uint64_t max_rows)
      : kernel_(kernel),
        scratch_(kernel.ScratchBytes(max_rows) + kScratchAlign),
        margins_(max_rows * kernel.shape().groups * DataTypeSize(kernel.shape().margin_type)),
        predictions_(max_rows * kernel.shape().prediction_columns *
                     DataTypeSize(kernel.shape().prediction_type)) {}

  absl::Status Run(const float* rows, uint64_t count) {
    const KernelPiece piece = {rows, count, margins_.data(), predictions_.data()};
    const auto base = reinterpret_cast<uintptr_t>(scratch_.data());
    const size_t skip = (kScratchAlign - base % kScratchAlign) % kScratchAlign;
    return kernel_.Run({DataType::kFp32,
                        {&piece, 1},
                        absl::MakeSpan(scratch_.data() + skip, scratch_.size() - kScratchAlign)});
  }

  // The median of kRuns, or of as many as limits.side_ns has room for, after one that warms up.
  absl::StatusOr<int64_t> Time(const float* rows, uint64_t count, const MeasureLimits& limits) {
    const int64_t begin_ns = limits.now_ns();
    if (absl::Status s = Run(rows, count); !s.ok()) return s;
    int64_t times[kRuns];
    int64_t last_ns = limits.now_ns();
    int runs = 0;
    do {
      if (absl::Status s = Run(rows, count); !s.ok()) return s;
      const int64_t now_ns = limits.now_ns();
      times[runs++] = std::max<int64_t>(now_ns - last_ns, 1);
      last_ns = now_ns;
    } while (runs < kRuns && last_ns - begin_ns < limits.side_ns);
    std::sort(times, times + runs);
    return times[runs / 2];
  }

  const std::vector<std::byte>& margins() const { return margins_; }

 private:
  const Kernel& kernel_;
  std::vector<std::byte> scratch_, margins_, predictions_;
};

// Bit by bit; any NaN is as good as another.
template <typename T>
bool SameNumbers(const std::byte* a, const std::byte* b, size_t bytes) {
  if (memcmp(a, b, bytes) == 0) return true;
  for (size_t i = 0; i < bytes; i += sizeof(T)) {
    T x, y;
    memcpy(&x, a + i, sizeof x);
    memcpy(&y, b + i, sizeof y);
    if (memcmp(&x, &y, sizeof x) != 0 && !(std::isnan(x) && std::isnan(y))) return false;
  }
  return true;
}

bool SameMargins(const KernelShape& shape, uint64_t rows, const Side& cpu, const Side& device) {
  const size_t bytes = rows * shape.groups * DataTypeSize(shape.margin_type);
  const auto same = shape.margin_type == DataType::kFp32 ? SameNumbers<float> : SameNumbers<double>;
  return same(cpu.margins().data(), device.margins().data(), bytes);
}

}  // namespace

std::vector<uint64_t> BucketRows(uint64_t max_rows) {
  std::vector<uint64_t> all;
  for (uint64_t rows = 1; rows < max_rows; rows *= 2) all.push_back(rows);
  if (max_rows > 0) all.push_back(max_rows);
  return all;
}

size_t ChooseCrossover(absl::Span<const Bucket> buckets) {
  double sum = 0;
  for (const Bucket& b : buckets) sum += std::log(static_cast<double>(b.cpu_ns));
  double least = sum;
  size_t best = buckets.size();
  for (size_t i = buckets.size(); i-- > 0;) {
    sum += std::log(kAdvantage * static_cast<double>(buckets[i].device_ns)) -
           std::log(static_cast<double>(buckets[i].cpu_ns));
    if (sum < least) {
      least = sum;
      best = i;
    }
  }
  return best;
}

absl::StatusOr<std::vector<float>> PlausibleRows(absl::Span<const std::byte> image, size_t rows,
                                                 uint32_t seed) {
  absl::StatusOr<TreePlan> plan = TreePlan::Open(image);
  if (!plan.ok()) return plan.status();
  std::minstd_rand random(seed);
  std::vector<float> out(rows * plan->features());
  for (float& x : out) x = static_cast<float>(random() % 1000) / 500.0f - 1.0f;
  for (const PlanFeature& feature : plan->used_features()) {
    for (size_t row = 0; row < rows; ++row) {
      float& x = out[row * plan->features() + feature.feature];
      const uint32_t draw = random() % 32;
      const bool numeric = feature.edge_count > 0 && (feature.row_count == 0 || draw % 4 < 2);
      if (draw == 0) {
        x = std::numeric_limits<float>::quiet_NaN();
      } else if (numeric) {
        x = plan->edges32()[feature.first_edge + random() % feature.edge_count];
        if (draw % 2 == 0) x = std::nextafter(x, -std::numeric_limits<float>::infinity());
      } else {
        x = static_cast<float>(random() % (32 * std::max(feature.row_count, 1u)));
      }
    }
  }
  return out;
}

absl::StatusOr<std::vector<Bucket>> MeasureBuckets(const Kernel& cpu, const Kernel& device,
                                                   uint64_t max_rows, absl::Span<const float> rows,
                                                   const MeasureLimits& limits) {
  const KernelShape& shape = cpu.shape();
  const uint64_t there = std::min<uint64_t>(max_rows, rows.size() / std::max(shape.features, 1u));
  Side cpu_side(cpu, there), device_side(device, there);
  std::vector<Bucket> buckets;
  const int64_t begin_ns = limits.now_ns();
  for (uint64_t count : BucketRows(max_rows)) {
    if (count > there) break;
    const bool first = buckets.empty();
    if (!first && limits.now_ns() - begin_ns >= limits.total_ns) break;
    Bucket bucket;
    bucket.rows = count;
    bucket.cpu_ns = first ? 0 : 2 * buckets.back().cpu_ns;
    bucket.device_ns = first ? 0 : 2 * buckets.back().device_ns;
    bucket.cpu_estimated = bucket.cpu_ns > limits.side_ns;
    bucket.device_estimated = bucket.device_ns > limits.side_ns;
    if (!bucket.cpu_estimated) {
      absl::StatusOr<int64_t> ns = cpu_side.Time(rows.data(), count, limits);
      if (!ns.ok()) return ns.status();
      bucket.cpu_ns = *ns;
    }
    if (!bucket.device_estimated) {
      absl::StatusOr<int64_t> ns = device_side.Time(rows.data(), count, limits);
      if (!ns.ok()) return ns.status();
      bucket.device_ns = *ns;
    }
    if (limits.exact && !bucket.cpu_estimated && !bucket.device_estimated &&
        !SameMargins(shape, count, cpu_side, device_side)) {
      return absl::FailedPreconditionError("the device's margins are not the CPU's");
    }
    buckets.push_back(bucket);
  }
  return buckets;
}

}  // namespace millrace
