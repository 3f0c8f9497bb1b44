#include "services/observer/time_window.h"

#include <math.h>

#include "common/time_edges.h"

namespace millrace {
namespace {

// As Prometheus does: evenly within the bucket.
int64_t Quantile(const TimeWords& words, uint64_t count, double quantile) {
  const double rank = quantile * static_cast<double>(count);
  double below = 0;
  for (size_t i = 0; i < kTimeEdges; ++i) {
    const auto here = static_cast<double>(words[1 + i]);
    if (here > 0 && below + here >= rank) {
      const double low = i == 0 ? 0 : static_cast<double>(kTimeEdgesNs[i - 1]);
      const auto high = static_cast<double>(kTimeEdgesNs[i]);
      return llround(low + (high - low) * (rank - below) / here);
    }
    below += here;
  }
  return static_cast<int64_t>(kTimeEdgesNs.back());
}

}  // namespace

void AddGrown(const uint64_t* now, const uint64_t* before, TimeWords* window) {
  for (size_t i = 0; i < kTimeWords; ++i) {
    (*window)[i] += Grown(now[i], before == nullptr ? 0 : before[i]);
  }
}

TimeWindow Summarize(const TimeWords& window) {
  TimeWindow result;
  // A sum that passes 64 bits is a page's nonsense.
  for (size_t i = 1; i < kTimeWords; ++i) {
    result.count = result.count > UINT64_MAX - window[i] ? UINT64_MAX : result.count + window[i];
  }
  result.sum_ns = window[0];
  if (result.count == 0) return result;
  result.p50_ns = Quantile(window, result.count, 0.5);
  result.p99_ns = Quantile(window, result.count, 0.99);
  return result;
}

}  // namespace millrace
