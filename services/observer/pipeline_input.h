// Two readings of the pipeline, and the JSON that is made of both.
//
// Purpose: inside of DescribePipeline: what pipeline_json.cc and pipeline_topology.cc share.
// Who may call: these two. Invariant: without a reading before, what needs two is null.
// Nothing fails.
#pragma once

#include <stdint.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "ipc/topology.h"
#include "services/observer/pipeline.h"

namespace millrace {

inline constexpr double kNanosInASecond = 1e9;

template <typename T>
nlohmann::json OrNull(const std::optional<T>& value) {
  return value.has_value() ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

struct PipelineInput {
  const Picture& picture;
  const PipelineReading& now;
  const PipelineReading* before;  // null: none
  const PipelineSetup& setup;
  double seconds = 0;  // between the two; 0: no rates

  nlohmann::json Rate(uint64_t grown) const;
  nlohmann::json Times(const TimeWords& window) const;
  // Words of that model in the reading before; null: none.
  const uint64_t* Before(const ModelKey& key) const;
  // Of a stage, or of one of its places.
  uint64_t GrownOf(Stage stage, std::optional<uint32_t> index, Counter counter) const;
  uint64_t SumOf(Stage stage, Counter counter) const;
  // What was timed since the reading before, of all models of a stage.
  TimeWords StageTimes(Stage stage, StatsTime time) const;
};

nlohmann::json PipelineStages(const PipelineInput& in);
nlohmann::json PipelineLinks(const PipelineInput& in);
nlohmann::json PipelineWorkers(const PipelineInput& in);

}  // namespace millrace
