// What the supervisor knows about each stage: one row a stage.
//
// Purpose: start order, limits and what a process is sent follow from here and nowhere else.
// Invariants: 1. row i describes the stage of value i. 2. Groups start in ascending order and stop
// in
//   descending order; processes of one group do not wait for each other.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <array>
#include <string>
#include <string_view>

#include "common/config.h"
#include "ipc/topology.h"

namespace millrace {

struct StageRow {
  Stage stage;
  int group;               // of the start; -1: never started
  uint32_t max_processes;  // ingress: at most kMaxIngressLanes (ipc/page.h) lanes of two processes
  bool scalable;
  bool gets_plans;            // beside the catalog
  std::string Config::*cpus;  // field of the CPUs it is pinned to; null: never pinned
};

inline constexpr std::array<StageRow, kStageCount> kStageRows = {{
    {Stage::kNone, -1, 0, false, false, nullptr},
    {Stage::kRegistry, 0, 1, false, false, nullptr},
    {Stage::kIngress, 2, 2, true, false, &Config::ingress_cpus},
    {Stage::kFeatures, 1, 8, true, false, &Config::features_cpus},
    {Stage::kExecution, 1, 8, true, true, &Config::execution_cpus},
    {Stage::kAggregation, 1, 8, true, false, &Config::aggregation_cpus},
    // With the registry: it sees everything start and everything stop.
    {Stage::kObserver, 0, 1, false, false, nullptr},
}};

// Names of the listening sockets; the place of a name is the number of ingress's lane for it. A
// socket that is not opened leaves its lane out.
inline constexpr std::array<std::string_view, 3> kListenerNames = {"grpc", "http", "local"};

inline constexpr int kIngressGroup = 2;
inline constexpr int kGroupCount = 3;

inline constexpr const StageRow& RowOf(Stage stage) {
  return kStageRows[static_cast<size_t>(stage) < kStageCount ? static_cast<size_t>(stage) : 0];
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

}  // namespace millrace
