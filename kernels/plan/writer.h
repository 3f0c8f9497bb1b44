// Writes a tree plan.
//
// Purpose: what a parser found goes in tree by tree; the image comes out. The writer decides where
//   everything lies (siblings side by side, breadth first), the parser what it means.
// Who may call: one thread; used by the compiler and by tests, never while serving.
// Invariants:
//   1. A finished image opens: Finish() opens it before it hands it out.
//   2. Every tree is a tree: AddTree() refuses a node that is reached twice (a cycle, or a child
//      with two parents) and a child out of range. Nodes that are never reached are left out.
// Fails: InvalidArgument that names the path and the field given by the caller; ResourceExhausted
//   beyond the format's limits; whatever ReadNode failed with.
#pragma once

#include <stdint.h>

#include <cstddef>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/plan/format.h"

namespace millrace {

// A node as in PlanNode, except that both children are named, by their number in the model file.
struct DraftNode {
  uint64_t bits = 0;
  uint32_t split = 0;
  uint32_t left = 0;
  uint32_t right = 0;
};

DraftNode DraftLeaf(double value);
// A leaf that holds an index: of a vector (kLeaf) or of a linear leaf (kLinearLeaf).
DraftNode DraftIndexLeaf(NodeKind kind, uint64_t index);
DraftNode DraftNumeric(uint32_t feature, double threshold, Missing missing, bool default_left);
DraftNode DraftCategorical(uint32_t feature, uint32_t set, Missing missing, bool default_left);

// How the model file calls a tree and its children, for messages.
struct TreeNames {
  std::string path;   // "learner.gradient_booster.model.trees[3]"
  const char* left;   // "left_children"
  const char* right;  // "right_children"
};

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

class PlanWriter {
 public:
  uint32_t AddSet(absl::Span<const uint32_t> words);
  uint64_t AddVector(absl::Span<const double> values);
  uint32_t AddLinear(double constant, double fallback, absl::Span<const PlanTerm> terms);

  // `read` gives node i of a tree of `count` nodes whose root is node 0. It is asked once for each
  // node that is reached, so what a parser checks in it is checked for these alone: files may hold
  // nodes that were pruned.
  using ReadNode = absl::FunctionRef<absl::StatusOr<DraftNode>(uint32_t i)>;
  absl::Status AddTree(uint32_t group, uint32_t count, const TreeNames& names, ReadNode read);

  size_t tree_count() const { return trees_.size(); }
  size_t node_count() const { return nodes_.size(); }

  absl::StatusOr<std::vector<std::byte>> Finish(const PlanTraits& traits) const;

 private:
  std::vector<PlanTree> trees_;
  std::vector<PlanNode> nodes_;
  std::vector<double> vectors_;
  std::vector<PlanSet> sets_;
  std::vector<uint32_t> words_;
  std::vector<PlanLinear> linears_;
  std::vector<PlanTerm> terms_;
};

}  // namespace millrace
