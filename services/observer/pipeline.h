// The whole pipeline as it is now, for the console and `millrace top`: GET /api/pipeline.
//
// Purpose: topology, processes, rates and quantiles of the last seconds, as JSON. The page of each
//   lane is only read; what is kept are some readings of a second each.
// Who may call: Tick the control thread with each view; Report any thread.
// Invariants:
//   1. Rates are differences of the newest reading and one at most kReachNs older; without one
//      (interval_ns 0) they are null.
//   2. Bounded: kReadings readings, kPoints points of history, names and numbers of what there is.
//   3. Whatever stands in a page, the answer is JSON: names are text, numbers are finite.
// Nothing fails.
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "services/observer/nvml.h"
#include "services/observer/process_use.h"
#include "services/observer/time_window.h"
#include "services/observer/totals.h"

namespace millrace {

// Of one incarnation of a lane.
struct LaneReading {
  Stage stage = Stage::kNone;
  uint32_t index = 0;
  TimeWords queue{}, work{};  // of all models; of ingress the whole of OK answers is the work
};

// What was read at one moment.
struct PipelineReading {
  int64_t at_ns = 0;
  Totals totals;
  std::map<uint32_t, LaneReading> lanes;     // by incarnation
  std::map<uint32_t, ProcessUse> processes;  // by the incarnation of their first lane
};

using UseReader = std::function<std::optional<ProcessUse>(pid_t)>;

PipelineReading ReadPipeline(const Picture& picture, const UseReader& use_of, int64_t now_ns);

// A second of the server's life.
struct PipelinePoint {
  double per_second = 0, errors_per_second = 0;
  std::optional<int64_t> p50_ns, p99_ns;
  uint64_t in_flight = 0, deaths = 0;
};

struct PipelineSetup {
  int64_t slo_ns = 100'000'000;  // an edge (common/time_edges.h)
  int64_t unix_ms = 0;
  std::vector<GpuSample> gpus;
};

// `before`: null for none.
std::string DescribePipeline(const Picture& picture, const PipelineReading& now,
                             const PipelineReading* before, const std::deque<PipelinePoint>& points,
                             const PipelineSetup& setup);

class PipelineHistory {
 public:
  static constexpr size_t kReadings = 4;
  static constexpr size_t kPoints = 300;
  static constexpr int64_t kStepNs = 1'000'000'000;
  static constexpr int64_t kReachNs = 3'500'000'000;

  explicit PipelineHistory(UseReader use_of) : use_of_(std::move(use_of)) {}

  void Tick(const Picture& picture, int64_t now_ns);
  // Asked again within a moment, it says the same again.
  std::string Report(const Picture& picture, int64_t now_ns, const PipelineSetup& setup);

 private:
  void Keep(PipelineReading reading, uint64_t deaths);

  const UseReader use_of_;
  std::mutex mutex_;
  std::deque<PipelineReading> readings_;  // oldest first
  std::deque<PipelinePoint> points_;
  int64_t reported_ns_ = 0;
  std::string report_;
};

}  // namespace millrace
