// Pages, sums and the supervisor's view, as families of metrics.
//
// Purpose: one picture in, everything that /metrics shows out. Who may call: any thread; pure.
// Invariants:
//   1. A counter is the sum of what the carried sums and all living pages say of its labels.
//   2. A histogram's buckets, count and sum are of one copy of the words.
//   3. Labels are bounded by the table of models in each page, and are text.
// Nothing fails.
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include <functional>
#include <optional>
#include <vector>

#include "prometheus/metric_family.h"
#include "services/observer/nvml.h"
#include "services/observer/page_set.h"
#include "services/observer/process_use.h"

namespace millrace {

struct CollectSetup {
  int64_t slo_ns = 100'000'000;  // an edge (common/time_edges.h)
  int64_t now_ns = 0;            // CLOCK_MONOTONIC
  std::vector<GpuSample> gpus;
  std::function<std::optional<ProcessUse>(pid_t)> use_of;
};

std::vector<prometheus::MetricFamily> Collect(const Picture& picture, const CollectSetup& setup);

}  // namespace millrace
