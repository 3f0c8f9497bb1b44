// Who talks to whom: the one table of stages and links.
//
// Purpose: every process derives from this table alone which links it makes to a peer.
// Who may call: any thread. Invariants: 1. numeric values of Stage cross process borders.
//   2. A request flows along these edges only, once along each for every member, and every message
//      that is not the last worker's goes on downstream (errors too).
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <array>
#include <string_view>

namespace millrace {

enum class Stage : uint8_t {
  kNone = 0,
  kRegistry = 1,
  kIngress = 2,
  kFeatures = 3,
  kExecution = 4,
  kAggregation = 5,
  kObserver = 6,
};
inline constexpr size_t kStageCount = 7;

inline constexpr std::array<std::string_view, kStageCount> kStageNames = {
    "none", "registry", "ingress", "features", "execution", "aggregation", "observer"};

inline constexpr std::string_view StageName(Stage stage) {
  const size_t i = static_cast<size_t>(stage);
  return i < kStageNames.size() ? kStageNames[i] : kStageNames[0];
}

struct Edge {
  Stage producer;
  Stage consumer;
};

inline constexpr std::array<Edge, 6> kEdges = {{
    {Stage::kIngress, Stage::kFeatures},       // a request with raw columns
    {Stage::kIngress, Stage::kExecution},      // a request with the ready tensor
    {Stage::kFeatures, Stage::kExecution},     // the tensor made from raw columns
    {Stage::kExecution, Stage::kAggregation},  // a member's result, or one to label
    {Stage::kExecution, Stage::kIngress},      // an answer
    {Stage::kAggregation, Stage::kIngress},    // an answer
}};

inline constexpr bool IsEdge(Stage producer, Stage consumer) {
  for (const Edge& edge : kEdges) {
    if (edge.producer == producer && edge.consumer == consumer) return true;
  }
  return false;
}

// Stages whose processes have lanes (arena, links); the registry, the observer and the supervisor
// have none.
inline constexpr bool HasLanes(Stage stage) {
  return stage == Stage::kIngress || stage == Stage::kFeatures || stage == Stage::kExecution ||
         stage == Stage::kAggregation;
}

}  // namespace millrace
