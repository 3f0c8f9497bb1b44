// One tree of an XGBoost document.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/compile/document.h"
#include "kernels/plan/writer.h"

namespace millrace {

struct XgboostTreeContext {
  uint32_t features;
  uint32_t groups;
  bool vector_leaves;  // every tree has a leaf vector of `groups` values
  bool weighted;       // DART: leaves are multiplied by `weight`
  float weight;
  uint32_t group;
};

// The length of the tree's leaf vector; 1 where leaves are single values.
absl::StatusOr<uint32_t> XgboostLeafWidth(const Place& tree);

absl::Status AddXgboostTree(const Place& tree, const XgboostTreeContext& context,
                            PlanWriter* writer);

}  // namespace millrace
