// Metrics made from spans: where the time of the slow requests goes, by model and device.
//
// Purpose: the question which share of the p95 is GPU time. Who may call: any thread.
// Invariants:
//   1. Only traces that were sampled at the head count: those kept for being slow are no sample.
//   2. The slowest are those in or above the bucket of the 95th percentile, as it is by then.
// Nothing fails.
#pragma once

#include <array>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "common/time_edges.h"
#include "services/observer/families.h"
#include "services/observer/traces/kept_trace.h"

namespace millrace {

class SpanMetrics {
 public:
  void Add(const std::vector<SharedTrace>& traces);
  // `incarnation`: of the observer, with which the numbers begin anew.
  void Show(const std::string& incarnation, Families* out) const;

 private:
  using Key = std::tuple<std::string, std::string, std::string>;  // model, version, device
  struct Histogram {
    std::array<uint64_t, kTimeEdges + 1> counts = {};
    uint64_t sum_ns = 0;
    void Add(uint64_t ns) {
      ++counts[TimeBucket(ns)];
      sum_ns += ns;
    }
  };
  struct Sums {
    Histogram request, gpu;
    std::map<std::string, uint64_t> slowest_ns;  // by step
    uint64_t slowest_all_ns = 0;
  };

  static size_t BucketOfP95(const Histogram& histogram);
  static void Fill(const Histogram& from, std::string_view name, std::string_view help,
                   const MetricLabels& labels, Families* out);

  mutable std::mutex mutex_;
  std::map<Key, Sums> sums_;
};

}  // namespace millrace
