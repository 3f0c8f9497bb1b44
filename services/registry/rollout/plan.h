// What a rollout shall do, as it was asked for.
//
// Purpose: the one place where the command's fields are read, checked and given their defaults;
// also
//   the form in which a plan is stored.
// Who may call: any thread. Invariants: 1. a plan from ReadPlan lies within its bounds: steps grow
//   and end with 100. 2. An unknown field is a fault. 3. ReadPlan(WritePlan(p)) is p.
// What fails: ReadPlan, INVALID_ARGUMENT with the field.
#pragma once

#include <stdint.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json_fwd.hpp"

namespace millrace {

inline constexpr uint32_t kRolloutParts = 10'000;

// Where a candidate is worse than the baseline.
struct RolloutLimits {
  double error_excess = 0.005;  // share of requests that fail, above the baseline's
  double p99_ratio = 1.5;       // of the baseline's p99
  int64_t p99_slack_us = 1000;  // and at least so much above it
  double changed = 0.01;        // share of rows with another decision
  double cosine_loss = 0.05;    // mean of 1 - cosine, where rows are vectors
  double rank_loss = 0.1;       // mean of (1 - rank correlation) / 2, where they are not
  double copy_failures = 0.2;   // share of copies of the shadow that were not answered
  uint64_t min_requests = 200;  // of each version, before a step may end well
  uint64_t min_compared = 200;  // copies that were compared, likewise
  double false_alarms = 0.01;   // chance that a good version is taken back, of a whole rollout
};

struct RolloutPlan {
  std::string name;   // of the route: a model's, or an alias
  std::string model;  // that both versions are of
  std::string from, to;
  std::vector<uint32_t> steps;  // parts of 10,000 that go to `to`; the last one is all
  int64_t every_ms = 600'000;
  int64_t patience_ms = 1'800'000;  // beyond that, for what a step still lacks
  bool shadow_first = false;        // a step before the first in which `to` only gets copies
  bool compare = true;              // copies go to the other version and are compared
  RolloutLimits limits;

  // Steps that are judged: all but the last, and the one in the shadow.
  size_t judged_steps() const { return steps.size() - 1 + (shadow_first ? 1 : 0); }
  // Of step `i`, the one in the shadow included: parts for `to`.
  uint32_t PartsOf(size_t i) const {
    if (shadow_first) return i == 0 ? 0 : steps[i - 1];
    return steps[i];
  }
};

// Of a command's fields; name, model, from and to may be left empty there and are not looked at.
absl::StatusOr<RolloutPlan> ReadPlan(const nlohmann::json& fields);
nlohmann::json WritePlan(const RolloutPlan& plan);

}  // namespace millrace
