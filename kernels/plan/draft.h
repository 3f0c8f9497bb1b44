// A forest as a parser found it, before it is laid out as a plan.
//
// Purpose: the nodes and traits that PlanWriter and ImageBuilder take. Plain data, plain C++.
#pragma once

#include <stdint.h>

#include <string>
#include <vector>

#include "kernels/plan/format.h"

namespace millrace {

enum class NodeKind : uint8_t { kNumeric, kCategorical, kLeaf, kLinearLeaf };

struct DraftNode {
  NodeKind kind = NodeKind::kLeaf;
  Missing missing = Missing::kNone;
  bool default_left = false;
  uint32_t feature = 0;
  double value = 0;    // kNumeric: the threshold; kLeaf: the value, unless leaves are vectors
  uint64_t index = 0;  // of the set, the vector or the linear leaf
  uint32_t left = 0;
  uint32_t right = 0;

  bool inner() const { return kind == NodeKind::kNumeric || kind == NodeKind::kCategorical; }
};

DraftNode DraftLeaf(double value);
// A leaf that holds an index: of a vector (kLeaf) or of a linear leaf (kLinearLeaf).
DraftNode DraftIndexLeaf(NodeKind kind, uint64_t index);
DraftNode DraftNumeric(uint32_t feature, double threshold, Missing missing, bool default_left);
DraftNode DraftCategorical(uint32_t feature, uint32_t set, Missing missing, bool default_left);

// What the header says of the whole model.
struct PlanTraits {
  TreeFamily family = TreeFamily::kXgboost;
  Transform transform = Transform::kIdentity;
  double transform_parameter = 1;
  uint32_t average_divisor = 0;
  uint32_t features = 0;
  bool vector_leaves = false;
  std::string objective;
  std::vector<double> bases;  // one a group
  std::vector<std::string> feature_names;
};

}  // namespace millrace
