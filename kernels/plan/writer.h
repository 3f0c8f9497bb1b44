// Writes a tree plan.
//
// Purpose: what a parser found goes in tree by tree, is checked and put in order, and the image
//   comes out. ImageBuilder decides where everything lies, the parser what it means.
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
#include "kernels/plan/draft.h"
#include "kernels/plan/image_builder.h"

namespace millrace {

// How the model file calls a tree and its children, for messages.
struct TreeNames {
  std::string path;   // "learner.gradient_booster.model.trees[3]"
  const char* left;   // "left_children"
  const char* right;  // "right_children"
};

class PlanWriter {
 public:
  uint32_t AddSet(absl::Span<const uint32_t> words) { return builder_.AddSet(words); }
  uint64_t AddVector(absl::Span<const double> values) { return builder_.AddVector(values); }
  uint32_t AddLinear(double constant, double fallback, absl::Span<const PlanTerm> terms) {
    return builder_.AddLinear(constant, fallback, terms);
  }

  // `read` gives node i of a tree of `count` nodes whose root is node 0. It is asked once for each
  // node that is reached, so what a parser checks in it is checked for these alone: files may hold
  // nodes that were pruned.
  using ReadNode = absl::FunctionRef<absl::StatusOr<DraftNode>(uint32_t i)>;
  absl::Status AddTree(uint32_t group, uint32_t count, const TreeNames& names, ReadNode read);

  size_t tree_count() const { return builder_.tree_count(); }
  size_t node_count() const { return builder_.node_count(); }  // leaves too

  absl::StatusOr<std::vector<std::byte>> Finish(const PlanTraits& traits) const;

 private:
  ImageBuilder builder_;
};

}  // namespace millrace
