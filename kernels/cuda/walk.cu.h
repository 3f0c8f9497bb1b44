// From a row's column bytes to the leaf of a tree, and to what that leaf is worth.
//
// Who may call: device code of kernels/cuda.
// Invariants:
//   1. A walk ends: children stand behind their parents (PlanView's invariant 2).
//   2. A linear leaf is summed in the order of its terms, in double, nothing fused.
#pragma once

#include "kernels/cuda/forest.h"
#include "kernels/cuda/primitives.cu.h"
#include "kernels/cuda/rank.cu.h"
#include "kernels/simt/cuda.h"

namespace millrace::cuda {

__device__ __forceinline__ int32_t LeftOf(const NodeWords& node) {
  return static_cast<int16_t>(node.children);
}
__device__ __forceinline__ int32_t RightOf(const NodeWords& node) {
  return static_cast<int32_t>(node.children) >> 16;
}
__device__ __forceinline__ int32_t LeftOf(const PlanWideNode& node) { return node.left; }
__device__ __forceinline__ int32_t RightOf(const PlanWideNode& node) { return node.right; }

// The number of the leaf in its tree, which has inner nodes. `nodes` and `bytes` are pointers into
// shared or device memory.
template <typename Node, typename Nodes, typename Bytes>
__device__ __forceinline__ uint32_t Walk(Nodes nodes, Bytes bytes) {
  int32_t next = 0;
  do {
    const Node node = nodes[next];
    const uint32_t byte = bytes[node.test >> 8];
    next = byte <= (node.test & 255) ? LeftOf(node) : RightOf(node);
  } while (next >= 0);
  return static_cast<uint32_t>(~next);
}

__device__ inline double LinearLeaf(const ForestView& forest, uint32_t index, const float* row) {
  const PlanLinear leaf = forest.linears[index];
  double sum = leaf.constant;
  for (uint32_t i = 0; i < leaf.term_count; ++i) {
    const PlanTerm term = forest.terms[leaf.first_term + i];
    const float x = LoadValue<double>(row[term.feature]);
    if (isnan(x)) return leaf.fallback;
    sum = Add(sum, Multiply(term.coefficient, static_cast<double>(x)));
  }
  return sum;
}

template <typename Real>
__device__ __forceinline__ Real LeafValue(const ForestView& forest, const DeviceTree& tree,
                                          uint32_t leaf, const float* row) {
  if constexpr (!kIsXgboost<Real>) {
    if (tree.first_linear != kNoLinear) return LinearLeaf(forest, tree.first_linear + leaf, row);
  }
  return static_cast<const Real*>(forest.leaves)[tree.first_leaf + leaf];
}

}  // namespace millrace::cuda
