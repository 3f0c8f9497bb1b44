// A plan rearranged for the device, as one block of bytes that is copied there at once.
//
// Purpose: what of a plan the device needs, trees sorted by group (stably), nodes aligned, bases in
//   the margin's type; and the chunk lists of each shape that the model will run in.
// Who may call: Open() of a model, and tests. Plain C++, no CUDA.
// Ownership: owns its bytes; refers to no plan after construction.
// Invariants:
//   1. Every part begins at a multiple of kPartAlignment, so it may be read as any type.
//   2. Pointers that ViewAt and AddShape give are right for a copy of bytes() at that address.
// Fails: std::bad_alloc, and std::length_error for a forest of more than 2^32 - 1 nodes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cuda/forest.h"
#include "kernels/cuda/tile_shape.h"
#include "kernels/plan/plan_view.h"

namespace millrace::cuda {

class ForestImage {
 public:
  static constexpr size_t kPartAlignment = 256;

  explicit ForestImage(const PlanView& plan);

  const ForestFacts& facts() const { return facts_; }
  bool linear() const { return linear_; }  // some leaf reads its row again
  std::span<const std::byte> bytes() const { return bytes_; }

  // Where in bytes() the lists of a shape are.
  struct Lists {
    size_t chunks_at, segments_at;
    uint32_t chunk_count;
  };
  Lists AddLists(const TileShape& shape);

  ForestView ViewAt(const std::byte* device) const;
  static void SetLists(const std::byte* device, const Lists& lists, TileShape* shape);

 private:
  struct Known {
    uint32_t chunk_trees, staged_nodes, slots;
    Lists lists;
  };

  template <typename T>
  size_t Append(std::span<const T> part);
  void AppendTrees(const PlanView& plan);
  template <typename Real>
  size_t AppendBases(const PlanView& plan);

  ForestFacts facts_;
  bool linear_ = false;
  uint32_t input_features_ = 0;
  std::vector<std::byte> bytes_;
  std::vector<DeviceTree> trees_;
  std::vector<uint32_t> groups_;  // of each tree
  std::vector<Known> known_;
  size_t features_at_, columns_at_, edges_at_, word_rows_at_, words_at_, trees_at_, nodes_at_,
      leaves_at_, linears_at_, terms_at_, bases_at_;
};

}  // namespace millrace::cuda
