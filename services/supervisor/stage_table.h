// What the supervisor knows about each stage: one row a stage.
//
// Purpose: start order, limits and what a process is sent follow from here and nowhere else.
// Invariants: 1. row i describes the stage of value i. 2. Groups start in ascending order and stop
// in
//   descending order; processes of one group do not wait for each other.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "common/config.h"
#include "ipc/topology.h"
#include "ipc/window.h"

namespace millrace {

struct StageRow {
  Stage stage;
  int group;               // of the start; -1: never started
  uint32_t max_processes;  // ingress: those of which kMaxIngressLanes (ipc/page.h) has the lanes
  bool scalable;
  bool gets_plans;            // beside the catalog
  std::string Config::*cpus;  // field of the CPUs it is pinned to; null: never pinned
  // Fields of its scaling policy; null: it never has one.
  int64_t Config::*most = nullptr;
  int64_t Config::*least = nullptr;
  int64_t Config::*queue_delay_us = nullptr;
};

inline constexpr std::array<StageRow, kStageCount> kStageRows = {{
    {Stage::kNone, -1, 0, false, false, nullptr},
    {Stage::kRegistry, 0, 1, false, false, nullptr},
    {Stage::kIngress, 2, 4, true, false, &Config::ingress_cpus},
    {Stage::kFeatures, 1, 8, true, false, &Config::features_cpus, &Config::features_max_workers,
     &Config::features_min_workers, &Config::features_queue_delay_us},
    {Stage::kExecution, 1, 8, true, true, &Config::execution_cpus, &Config::execution_max_workers,
     &Config::execution_min_workers, &Config::execution_queue_delay_us},
    {Stage::kAggregation, 1, 8, true, false, &Config::aggregation_cpus,
     &Config::aggregation_max_workers, &Config::aggregation_min_workers,
     &Config::aggregation_queue_delay_us},
    // With the registry: it sees everything start and everything stop.
    {Stage::kObserver, 0, 1, false, false, nullptr},
}};

// The configuration's count of a stage's processes; null: it has none.
inline constexpr int64_t Config::*CountOf(Stage stage) {
  switch (stage) {
    case Stage::kIngress:
      return &Config::ingress_workers;
    case Stage::kFeatures:
      return &Config::features_workers;
    case Stage::kExecution:
      return &Config::execution_workers;
    case Stage::kAggregation:
      return &Config::aggregation_workers;
    default:
      return nullptr;
  }
}

// Processes that the stage may have by the configuration.
inline constexpr int64_t MostProcesses(const Config& config, Stage stage) {
  const int64_t most = kStageRows[static_cast<size_t>(stage)].max_processes;
  return stage == Stage::kIngress ? std::min(most, config.ingress_max_workers) : most;
}

// Names of the listening sockets; the place of a name is the number of ingress's lane for it. A
// socket that is not opened leaves its lane out.
inline constexpr std::array<std::string_view, kLanesOfAnIngress> kListenerNames = {"grpc", "http",
                                                                                   "local"};

inline constexpr int kIngressGroup = 2;
inline constexpr int kGroupCount = 3;

inline constexpr const StageRow& RowOf(Stage stage) {
  return kStageRows[static_cast<size_t>(stage) < kStageCount ? static_cast<size_t>(stage) : 0];
}

// Places behind the last that a stage can have are those of its spares.
inline constexpr uint32_t SpareIndex(Stage stage, uint32_t spare) {
  return RowOf(stage).max_processes + spare;
}
inline constexpr bool IsSpare(Stage stage, uint32_t index) {
  return index >= RowOf(stage).max_processes;
}

namespace stage_table_internal {
constexpr bool RowsStandInOrder() {
  for (size_t i = 0; i < kStageCount; ++i) {
    if (kStageRows[i].stage != static_cast<Stage>(i)) return false;
    if (kStageRows[i].group >= kGroupCount) return false;
  }
  return RowOf(Stage::kIngress).group == kIngressGroup;
}
}  // namespace stage_table_internal
static_assert(stage_table_internal::RowsStandInOrder());
static_assert(RowOf(Stage::kIngress).max_processes * kLanesOfAnIngress <= kMaxIngressLanes);

}  // namespace millrace
