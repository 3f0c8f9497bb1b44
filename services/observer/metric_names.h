// Names of the metrics that are made from pages: one table a kind.
//
// Purpose: what a counter or a time is called, which stages have it and what it means stands here
//   and nowhere else. Invariants: 1. row i of kCounterRows describes the counter of value i. 2.
//   names follow Prometheus's conventions: base units, `_total` for what only grows.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <array>
#include <string_view>

#include "ipc/page.h"
#include "ipc/topology.h"

namespace millrace {

inline constexpr uint8_t StageBit(Stage stage) {
  return static_cast<uint8_t>(1u << static_cast<unsigned>(stage));
}
inline constexpr uint8_t kIngressOnly = StageBit(Stage::kIngress);
inline constexpr uint8_t kExecutionOnly = StageBit(Stage::kExecution);
inline constexpr uint8_t kWorkersOnly =
    StageBit(Stage::kFeatures) | StageBit(Stage::kExecution) | StageBit(Stage::kAggregation);
inline constexpr uint8_t kAllLanes = kIngressOnly | kWorkersOnly;

struct CounterRow {
  Counter counter;
  std::string_view name;
  std::string_view help;
  uint8_t stages = kAllLanes;
  bool nanoseconds = false;      // shown in seconds
  bool most = false;             // of a process's lanes: the largest, not the sum
  std::string_view reason = "";  // a label of its own; empty: none
};

constexpr CounterRow Shed(Counter counter, std::string_view reason) {
  return {counter,
          "millrace_ingress_shed_total",
          "Requests refused or given up under load.",
          kIngressOnly,
          false,
          false,
          reason};
}

inline constexpr std::array<CounterRow, static_cast<size_t>(Counter::kCount)> kCounterRows = {{
    {Counter::kTaken, "millrace_lane_taken_total",
     "Messages taken off links; in ingress requests that were accepted."},
    {Counter::kAnswered, "millrace_lane_answered_total",
     "Results published; in ingress OK answers."},
    {Counter::kFailed, "millrace_lane_failed_total",
     "Results that were errors; in ingress accepted requests that were answered with one."},
    {Counter::kExpired, "millrace_lane_expired_total", "Dropped since their deadline had passed."},
    {Counter::kStale, "millrace_lane_stale_total",
     "Dropped since nobody wanted them any more: cancelled, or sent again elsewhere."},
    {Counter::kRefused, "millrace_ingress_refused_total", "Requests that were not admitted.",
     kIngressOnly},
    {Counter::kReplayed, "millrace_ingress_replays_total",
     "Requests sent again after a worker's end.", kIngressOnly},
    {Counter::kPoisoned, "millrace_ingress_poisoned_total",
     "Requests given up since they ended the workers that executed them.", kIngressOnly},
    {Counter::kBatches, "millrace_lane_batches_total", "Batches worked on.", kWorkersOnly},
    {Counter::kRows, "millrace_execution_rows_total", "Rows that went through a model.",
     kExecutionOnly},
    {Counter::kBusyNs, "millrace_lane_busy_seconds_total", "Time spent working.", kWorkersOnly,
     true},
    {Counter::kParks, "millrace_lane_parks_total", "Times that a lane went to sleep."},
    {Counter::kHogs, "millrace_lane_hogged_yields_total",
     "Yields in which another program kept the core."},
    {Counter::kRescues, "millrace_lane_rescues_total",
     "Sleeps ended by time though work was there: a fault of ours, must stay 0."},
    {Counter::kFaults, "millrace_lane_faults_total",
     "Things that a peer wrote and that were refused."},
    {Counter::kDeviceBatches, "millrace_execution_device_batches_total",
     "Batches given to the device.", kExecutionOnly},
    {Counter::kDeviceHalved, "millrace_execution_device_halved_total",
     "Batches run in two for lack of device memory.", kExecutionOnly},
    {Counter::kDeviceFellBack, "millrace_execution_device_fell_back_total",
     "Batches of the device of which at least a part ran on the CPU.", kExecutionOnly},
    {Counter::kInjected, "millrace_lane_injected_faults_total", "Faults on purpose."},
    {Counter::kQueueDepth, "millrace_lane_queue_depth", "Messages that wait in the lane's queue."},
    {Counter::kQueueDelayNs, "millrace_lane_queue_delay_seconds",
     "Moving average of the time from publishing to work.", kWorkersOnly, true, true},
    {Counter::kInFlight, "millrace_ingress_in_flight", "Slots of the ledger that are taken.",
     kIngressOnly},
    {Counter::kBlocksTaken, "millrace_lane_arena_blocks", "Blocks of the arena that are taken."},
    {Counter::kLimbo, "millrace_ingress_limbo_units",
     "Units of windows that wait for the workers to be done with dropped requests.", kIngressOnly},
    {Counter::kOldestCatalog, "millrace_ingress_oldest_catalog_generation",
     "The oldest generation of the catalog that a request in flight began with.", kIngressOnly,
     false, true},
    {Counter::kWorstTurnNs, "millrace_lane_worst_turn_seconds",
     "The longest of the last ten to twenty seconds in which the lane's loop neither looked around "
     "nor slept.",
     kAllLanes, true, true},
    Shed(Counter::kShedPredicted, "predicted"),
    Shed(Counter::kShedLimit, "limit"),
    Shed(Counter::kShedFull, "full"),
    Shed(Counter::kShedDelay, "delay"),
    Shed(Counter::kShedPriority, "priority"),
    Shed(Counter::kShedReplays, "replays"),
    Shed(Counter::kShedQuota, "quota"),
    Shed(Counter::kShedBreaker, "breaker"),
}};

struct TimeRow {
  Stage stage;
  StatsTime time;
  std::string_view name;
  std::string_view help;
};

inline constexpr TimeRow kTimeRows[] = {
    {Stage::kIngress, StatsTime::kTotal, "millrace_ingress_request_seconds",
     "From a request's arrival to its OK answer."},
    {Stage::kIngress, StatsTime::kQueue, "millrace_ingress_queue_seconds",
     "Time that a request waited in ingress for room on its route."},
    {Stage::kIngress, StatsTime::kWrite, "millrace_ingress_write_seconds",
     "Time to write an OK answer."},
    {Stage::kFeatures, StatsTime::kQueue, "millrace_features_queue_seconds",
     "Time from a message's publishing until it was taken."},
    {Stage::kFeatures, StatsTime::kWork, "millrace_features_transform_seconds",
     "Time to make a tensor of raw columns."},
    {Stage::kExecution, StatsTime::kQueue, "millrace_execution_queue_seconds",
     "Time from a message's publishing until it was taken into a batch."},
    {Stage::kExecution, StatsTime::kBatchWait, "millrace_execution_batch_wait_seconds",
     "Time that a request waited for its batch to run."},
    {Stage::kExecution, StatsTime::kWork, "millrace_execution_run_seconds",
     "Time to run a batch through its model."},
    {Stage::kExecution, StatsTime::kToDevice, "millrace_execution_to_device_seconds",
     "Time that a batch took from the host to where the device reads it."},
    {Stage::kExecution, StatsTime::kToHost, "millrace_execution_to_host_seconds",
     "Time that a batch's results took from the device to their requests."},
    {Stage::kAggregation, StatsTime::kQueue, "millrace_aggregation_queue_seconds",
     "Time from a message's publishing until it was taken."},
    {Stage::kAggregation, StatsTime::kWork, "millrace_aggregation_join_seconds",
     "Time to make an answer of its members' results."},
};

namespace metric_names_internal {
constexpr bool RowsStandInOrder() {
  for (size_t i = 0; i < kCounterRows.size(); ++i) {
    if (kCounterRows[i].counter != static_cast<Counter>(i)) return false;
    const bool total = kCounterRows[i].name.ends_with("_total");
    if (total == IsGauge(kCounterRows[i].counter)) return false;
  }
  return true;
}
}  // namespace metric_names_internal
static_assert(metric_names_internal::RowsStandInOrder());

}  // namespace millrace
