#include "services/registry/rollout/evidence.h"

#include <math.h>

#include <algorithm>

namespace millrace {
namespace {

constexpr size_t kMostTerms = 4096;

double LogChoose(double n, double k) {
  int sign;
  return lgamma_r(n + 1, &sign) - lgamma_r(k + 1, &sign) - lgamma_r(n - k + 1, &sign);
}

}  // namespace

double FisherGreater(uint64_t x, uint64_t n, uint64_t other_x, uint64_t other_n) {
  if (n == 0 || other_n == 0 || x > n || other_x > other_n) return 1;
  const auto a = static_cast<double>(x), rows = static_cast<double>(n);
  const auto b = static_cast<double>(other_x), others = static_cast<double>(other_n);
  if (a / rows <= b / others) return 1;  // nothing is to be shown, and the tail would be long
  const double hits = a + b, all = rows + others;
  double term = exp(LogChoose(rows, a) + LogChoose(others, b) - LogChoose(all, hits));
  double sum = term;
  // Above the expectation each term is smaller than the one before.
  for (size_t i = 0; i < kMostTerms; ++i) {
    const double k = a + static_cast<double>(i);
    if (k >= std::min(hits, rows)) break;
    term *= (rows - k) * (hits - k) / ((k + 1) * (others - hits + k + 1));
    sum += term;
    if (term < sum * 1e-12) break;
  }
  return std::clamp(sum, 0.0, 1.0);
}

double MeanAbove(double mean, double limit, double n) {
  if (!(mean > limit) || n <= 0 || limit >= 1) return 1;
  if (limit <= 0) return 0;
  const double above = std::min(mean, 1.0);
  const double rest = above < 1 ? (1 - above) * log((1 - above) / (1 - limit)) : 0;
  return exp(-n * (above * log(above / limit) + rest));
}

double SpentAt(uint64_t look, double alpha) {
  const auto k = static_cast<double>(std::max<uint64_t>(look, 1));
  return alpha * 6 / (M_PI * M_PI * k * k);
}

size_t QuantileBucket(absl::Span<const uint64_t> buckets, double q) {
  uint64_t all = 0, seen = 0;
  for (const uint64_t count : buckets) all += count;
  if (all == 0) return buckets.size();
  for (size_t i = 0; i < buckets.size(); ++i) {
    seen += buckets[i];
    if (static_cast<double>(seen) >= q * static_cast<double>(all)) return i;
  }
  return buckets.size() - 1;
}

uint64_t CountAfter(absl::Span<const uint64_t> buckets, size_t bucket) {
  uint64_t count = 0;
  for (size_t i = bucket + 1; i < buckets.size(); ++i) count += buckets[i];
  return count;
}

}  // namespace millrace
