// XGBoost's objectives: how a base score becomes a margin, and a margin a prediction.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/plan/format.h"

namespace millrace {

enum class Link { kIdentity, kLogit, kLog };

struct XgboostObjective {
  MarginTransform transform;
  Link link;
};

// Fails with Unimplemented for a name it does not know.
absl::StatusOr<XgboostObjective> FindXgboostObjective(const std::string& name);

// The margin that a base score stands for, in float as XGBoost computes it. From 3.1 on XGBoost
// bounds a probability away from 0 and 1 (`bounded`). Fails where the link is not defined.
absl::StatusOr<float> BaseMargin(Link link, float base_score, bool bounded);

}  // namespace millrace
