// A batch's records in the lane's trace ring, and what a device said of its steps.
//
// Purpose: one place that says what of a batch stands there and in the statistics. Who may call:
// the
//   lane's thread, once for each batch, before its parts are answered (records stand in the order
//   of their ends). Invariants: 1. some nanoseconds, no allocation. Nothing fails.
#pragma once

#include <algorithm>

#include "ipc/trace_records.h"
#include "ipc/trace_ring.h"
#include "kernels/device/dispatch.h"
#include "services/runtime/worker.h"

namespace millrace {

struct BatchRun {
  uint32_t number = 0;
  uint16_t route = 0;
  size_t rows = 0, parts = 0;
  int64_t begin_ns = 0, end_ns = 0;
};

inline BatchPlace PlaceOf(const DispatchTally& tally) {
  if (tally.device_batches == 0) return BatchPlace::kCpu;
  return tally.fell_back > 0 ? BatchPlace::kBoth : BatchPlace::kDevice;
}

inline void TraceBatch(TraceWriter* ring, const BatchRun& run, const DispatchTally& tally) {
  if (ring == nullptr) return;
  WorkRecord record;
  record.id = run.parts;
  record.route = run.route;
  record.rows = static_cast<uint32_t>(run.rows);
  record.batch = run.number;
  record.kind = WorkKind::kStep;
  for (size_t i = 0; i < tally.timed; ++i) {
    const KernelTimes& times = tally.times[i];
    const int64_t ends[kDeviceSteps + 1] = {times.begin_ns, times.brought_ns, times.launched_ns,
                                            times.done_ns, times.end_ns};
    for (uint8_t step = 0; step < kDeviceSteps; ++step) {
      record.code = step;
      record.begin_ns = ends[step];
      record.end_ns = ends[step + 1];
      ring->Write(record);
    }
  }
  record.kind = WorkKind::kBatch;
  record.code = static_cast<uint8_t>(PlaceOf(tally));
  record.begin_ns = run.begin_ns;
  record.end_ns = run.end_ns;
  ring->Write(record);
}

// The copies of a batch's runs on a device, together.
inline void CountCopies(const DispatchTally& tally, ModelStatsWords* stats) {
  if (tally.timed == 0) return;
  int64_t to_device_ns = 0, to_host_ns = 0;
  for (size_t i = 0; i < tally.timed; ++i) {
    to_device_ns += tally.times[i].brought_ns - tally.times[i].begin_ns;
    to_host_ns += tally.times[i].end_ns - tally.times[i].done_ns;
  }
  stats->Observe(StatsTime::kToDevice, static_cast<uint64_t>(std::max<int64_t>(to_device_ns, 0)));
  stats->Observe(StatsTime::kToHost, static_cast<uint64_t>(std::max<int64_t>(to_host_ns, 0)));
}

}  // namespace millrace
