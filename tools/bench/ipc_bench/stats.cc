#include "tools/bench/ipc_bench/stats.h"

#include <algorithm>
#include <cmath>

namespace millrace::bench {

double Percentile(std::vector<double> samples, double q) {
  if (samples.empty()) return 0;
  // The small bite keeps 0.99 * 100, which is a little over 99 in binary, at rank 99.
  const double rank = std::ceil(q * static_cast<double>(samples.size()) - 1e-9);
  const size_t at = static_cast<size_t>(std::max(rank, 1.0)) - 1;
  const auto nth = samples.begin() + static_cast<std::ptrdiff_t>(std::min(at, samples.size() - 1));
  std::nth_element(samples.begin(), nth, samples.end());
  return *nth;
}

double Median(std::vector<double> values) { return Percentile(std::move(values), 0.5); }

bool IsSteady(double floor_before, double floor_after, double tolerance) {
  const auto [low, high] = std::minmax(floor_before, floor_after);
  return low > 0 && high <= low * (1 + tolerance);
}

Percentiles PercentilesOf(const std::vector<double>& samples) {
  return {Percentile(samples, 0.5), Percentile(samples, 0.99), Percentile(samples, 0.999)};
}

}  // namespace millrace::bench
