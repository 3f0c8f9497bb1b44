// Lays a forest out as the image of a plan.
//
// Purpose: decides where everything lies. It trusts its caller: PlanWriter checks what comes from a
//   model file; tests and benches generate what is right by construction. Plain C++, so that tests
//   of the device build without the server's libraries.
// Who may call: one thread; never while serving.
// Invariants:
//   1. Every tree is given breadth first with its root first: a child stands behind its parent and
//      is reached once; every index is one that an Add returned.
//   2. A finished image holds what PlanView promises.
// Fails: Finish() with a sentence when a limit of the format is exceeded.
#pragma once

#include <stdint.h>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "kernels/plan/draft.h"
#include "kernels/plan/format.h"

namespace millrace {

class ColumnBuilder;

class ImageBuilder {
 public:
  uint32_t AddSet(std::span<const uint32_t> words);
  uint64_t AddVector(std::span<const double> values);
  uint32_t AddLinear(double constant, double fallback, std::span<const PlanTerm> terms);
  void AddTree(uint32_t group, std::vector<DraftNode> nodes);

  size_t tree_count() const { return trees_.size(); }
  size_t node_count() const { return node_count_; }  // leaves too

  // The image, or nothing and a sentence in *fault.
  std::vector<std::byte> Finish(const PlanTraits& traits, std::string* fault) const;

 private:
  struct Tree {
    uint32_t group;
    std::vector<DraftNode> nodes;
  };
  struct Layout;

  void CollectEdges(ColumnBuilder* columns) const;
  void LayOutTree(const Tree& tree, const PlanTraits& traits, ColumnBuilder* columns,
                  Layout* out) const;
  void LayOutLeaf(const DraftNode& leaf, const PlanTraits& traits, bool linear, Layout* out) const;
  std::vector<std::byte> Assemble(const PlanTraits& traits, const ColumnBuilder& columns,
                                  const Layout& layout) const;

  std::vector<Tree> trees_;
  size_t node_count_ = 0;
  std::vector<std::vector<uint32_t>> sets_;
  std::vector<double> vectors_;
  std::vector<PlanLinear> linears_;
  std::vector<PlanTerm> terms_;
};

}  // namespace millrace
