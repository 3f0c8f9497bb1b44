// The statistics of the bench of links.
//
// Purpose: percentiles of a run, medians over runs, and the rule that drops a run during which the
//   host moved the processors about. Who may call: any thread. Invariants:
//   1. A percentile is a value that was measured (nearest rank), never an interpolation.
//   2. A run counts only if its two floor probes agree; it is repeated a bounded number of times.
// What fails: nothing; a cell without a steady run has no figures.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <optional>
#include <vector>

namespace millrace::bench {

// The smallest sample that at least the share `q` of all samples does not exceed; 0 of none.
double Percentile(std::vector<double> samples, double q);

// Of an even number, the lower of the middle two; 0 of none.
double Median(std::vector<double> values);

// The larger probe may exceed the smaller one by this share.
inline constexpr double kFloorTolerance = 0.15;
// Whether the run between two floor probes counts.
bool IsSteady(double floor_before, double floor_after, double tolerance = kFloorTolerance);

struct Percentiles {
  double p50 = 0, p99 = 0, p999 = 0;
};
Percentiles PercentilesOf(const std::vector<double>& samples);

// Calls `run` until it gives a result whose `floor_before` and `floor_after` agree, at most `tries`
// times; counts the dropped ones. A run that gives nothing (a peer hung, say) is dropped too.
template <typename Run>
auto RunSteady(int tries, double tolerance, int64_t* dropped, Run&& run) -> decltype(run()) {
  for (int i = 0; i < tries; ++i) {
    auto result = run();
    if (result.has_value() && IsSteady(result->floor_before, result->floor_after, tolerance)) {
      return result;
    }
    ++*dropped;
  }
  return std::nullopt;
}

}  // namespace millrace::bench
