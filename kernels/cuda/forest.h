// A tree plan as the device has it, and what one launch is told.
//
// Purpose: the structs that host and kernel share. They are passed by value, so pointers in them
//   are the device's.
// Who may include it: kernels/cuda alone.
// Invariants:
//   1. Trees stand in the order of their groups, and of the plan inside one group: each margin is
//      summed in the plan's order.
//   2. Chunks cover the trees in that order; a chunk's segments cover its slots, rising.
//   3. Nodes of a tree begin at a multiple of 16 bytes, so that they are copied 16 bytes at a time.
//   4. TileShape decides speed alone: no result depends on it, but for `fast`.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/plan/format.h"

namespace millrace::cuda {

inline constexpr uint32_t kMaxTileRows = 32;
inline constexpr uint32_t kMaxTileThreads = 512;

// PlanNode with the alignment of one load: left in the lower half of `children`, right in the
// upper.
struct alignas(8) NodeWords {
  uint32_t test;
  uint32_t children;
};
static_assert(sizeof(NodeWords) == sizeof(PlanNode));

struct alignas(16) DeviceTree {
  uint32_t first_node;  // of the device's nodes
  uint32_t node_count;  // none: leaf 0
  uint32_t first_leaf;
  uint32_t first_linear;  // or kNoLinear
};

// Trees whose leaves are found before the next sum.
struct DeviceChunk {
  uint32_t first_tree, tree_count;
  uint32_t first_node, node_count;  // what is staged; node_count 0: read from device memory
  uint32_t first_segment, segment_count;
};

// Slots [begin, end) of a chunk add to one margin. None in a plan with vector leaves.
struct DeviceSegment {
  uint32_t group, begin, end;
};

struct ForestView {
  const PlanFeature* features;
  const PlanColumn* columns;
  const float* edges;
  const PlanWordRow* word_rows;
  const uint32_t* words;
  const DeviceTree* trees;
  const void* nodes;   // NodeWords or PlanWideNode
  const void* leaves;  // of the margin's type
  const PlanLinear* linears;
  const PlanTerm* terms;
  const void* bases;  // of the margin's type
  uint32_t feature_count;
  uint32_t input_features;
  uint32_t groups;
  uint32_t vector_leaves;
};

// Written by the host for each run, read by the device once in each block.
struct BatchHeader {
  uint64_t sequence;  // of this run; stored to `done` when its margins are written
  uint32_t rows;
  uint32_t reserved;
};

struct BatchView {
  const BatchHeader* header;
  const uint64_t* row_table;  // where each row is; or null, and they stand side by side in `rows`
  const float* rows;
  void* margins;          // [rows, groups]
  uint8_t* column_bytes;  // [rows, byte_stride] where shared memory is too small for them
  void* sums;             // [rows, groups] likewise
  uint32_t* ticket;       // 0 between runs: how many blocks have ended
  uint64_t* done;         // host memory
};

struct TileShape {
  uint32_t row_bits;         // a block takes 2^row_bits rows
  uint32_t threads;          // of a block; a power of two, at least 32
  uint32_t chunk_trees;      // slots of a chunk, a multiple of threads >> row_bits
  uint32_t staged_nodes;     // that one buffer for nodes holds; 0: nodes are not staged
  uint32_t byte_stride;      // of a row's column bytes
  uint32_t shared_bytes_on;  // 1: column bytes are in shared memory
  uint32_t shared_sums_on;   // 1: sums are
  uint32_t warp_rank;        // 1: a warp ranks one value; 0: a thread does
  uint32_t fast;             // 1: sums in any order; only for one group without vector leaves
  // The pool of dynamic shared memory: where each part begins.
  uint32_t values_at, sums_at, inputs_at, bytes_at, pool_bytes;
  uint32_t chunk_count;
  const DeviceChunk* chunks;
  const DeviceSegment* segments;
};

}  // namespace millrace::cuda
