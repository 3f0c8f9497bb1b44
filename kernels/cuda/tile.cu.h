// The forest kernel: a block takes a tile of rows from their features to their margins.
//
// Purpose: one body for every batch. A block ranks its rows into column bytes; its threads walk
//   trees, thread = (slot of the chunk, row of the tile); then each margin is summed by one thread
//   in the plan's order. Values of one chunk are summed while the next is walked.
// Who may call: LaunchForest, with a shape that PlanTile made.
// Invariants:
//   1. A margin is base + leaf + leaf + ... in the plan's order, whatever the shape, unless `fast`.
//   2. Every thread of a block meets the same barriers: all conditions around them are of the
//      shape, of the chunk list, or of the block.
//   3. Buffers for values and nodes are two: what chunk k + 1 writes, chunk k does not read. One
//      barrier a chunk keeps chunk k + 2 off.
//   4. The last block of a run stores its sequence to `done`, after all margins are visible to the
//      host.
#pragma once

#include "kernels/cuda/forest.h"
#include "kernels/cuda/primitives.cu.h"
#include "kernels/cuda/rank.cu.h"
#include "kernels/cuda/walk.cu.h"
#include "kernels/simt/cuda.h"

namespace millrace::cuda {

template <typename Real, typename Node, bool kStaged, bool kSharedBytes>
struct Tile {
  const ForestView& forest;
  const BatchView& batch;
  const TileShape& shape;
  MR_SHARED_PTR(unsigned char) pool;
  MR_SHARED_PTR(const float*) inputs;  // where each row of the tile is
  Real partial = 0;                    // fast: this thread's sum

  __device__ uint32_t rows() const { return 1u << shape.row_bits; }
  __device__ uint32_t first_row() const { return blockIdx.x << shape.row_bits; }
  __device__ uint32_t slots() const { return shape.threads >> shape.row_bits; }
  __device__ uint32_t slot() const { return threadIdx.x >> shape.row_bits; }
  __device__ uint32_t row() const { return threadIdx.x & (rows() - 1); }

  // One of the two buffers: [slot, row] of values, or of leaves' numbers.
  template <typename T>
  __device__ MR_SHARED_PTR(T) Values(uint32_t chunk) const {
    const uint32_t count = shape.chunk_trees << shape.row_bits;
    const uint32_t at = shape.values_at + (chunk & 1) * count * static_cast<uint32_t>(sizeof(Real));
    return MR_SHARED_SLICE(T, pool, at, count);
  }
  __device__ MR_SHARED_PTR(NodeWords) StagedNodes(uint32_t chunk) const {
    const uint32_t bytes = shape.staged_nodes * static_cast<uint32_t>(sizeof(NodeWords));
    return MR_SHARED_SLICE(NodeWords, pool, (chunk & 1) * bytes, shape.staged_nodes);
  }
  __device__ auto Bytes(uint32_t row) const {
    if constexpr (kSharedBytes) {
      return MR_SHARED_SLICE(uint8_t, pool, shape.bytes_at + row * shape.byte_stride,
                             shape.byte_stride);
    } else {
      return batch.column_bytes + static_cast<size_t>(first_row() + row) * shape.byte_stride;
    }
  }
  __device__ MR_SHARED_PTR(Real) SharedSums() const {
    return MR_SHARED_SLICE(Real, pool, shape.sums_at, forest.groups << shape.row_bits);
  }
  __device__ Real* DeviceSums() const {
    return static_cast<Real*>(batch.sums) + static_cast<size_t>(first_row()) * forest.groups;
  }
  __device__ Real GetSum(uint32_t at) const {
    if (shape.shared_sums_on) return SharedSums()[at];
    return DeviceSums()[at];
  }
  __device__ void SetSum(uint32_t at, Real sum) const {
    if (shape.shared_sums_on)
      SharedSums()[at] = sum;
    else
      DeviceSums()[at] = sum;
  }

  // What stands before the first barrier: where rows are, what margins start from.
  __device__ void Begin() const {
    if (threadIdx.x < rows()) {
      const uint32_t at = first_row() + threadIdx.x;
      const float* source = batch.rows + static_cast<size_t>(at) * forest.input_features;
      if (batch.row_table != nullptr) source = reinterpret_cast<const float*>(batch.row_table[at]);
      inputs[threadIdx.x] = source;
    }
    const Real* bases = static_cast<const Real*>(forest.bases);
    const uint32_t groups = forest.groups;
    for (uint32_t i = threadIdx.x; i < groups << shape.row_bits; i += shape.threads) {
      SetSum(i, bases[i % groups]);
    }
  }

  __device__ void Rank() const {
    const uint32_t features = forest.feature_count;
    const uint32_t pairs = features << shape.row_bits;
    if (!shape.warp_rank) {
      for (uint32_t i = threadIdx.x; i < pairs; i += shape.threads) {
        const float* source = inputs[i / features];
        const float x = source[forest.features[i % features].feature];
        RankByThread<Real>(forest, i % features, x, Bytes(i / features));
      }
      return;
    }
    // Rows may be in host memory: each value is read once, side by side.
    MR_SHARED_PTR(float) values = MR_SHARED_SLICE(float, pool, shape.inputs_at, pairs);
    for (uint32_t i = threadIdx.x; i < pairs; i += shape.threads) {
      const float* source = inputs[i / features];
      values[i] = source[forest.features[i % features].feature];
    }
    __syncthreads();
    for (uint32_t i = threadIdx.x / 32; i < pairs; i += shape.threads / 32) {
      RankByWarp<Real>(forest, i % features, values[i], Bytes(i / features));
    }
  }

  // Nodes of a chunk on their way to its buffer.
  __device__ void Stage(uint32_t chunk_index) const {
    if constexpr (kStaged) {
      if (chunk_index >= shape.chunk_count) return;
      const DeviceChunk chunk = shape.chunks[chunk_index];
      const auto* from = reinterpret_cast<const uint4*>(
          static_cast<const NodeWords*>(forest.nodes) + chunk.first_node);
      MR_SHARED_PTR(uint4) to = MR_SHARED_CAST(uint4, StagedNodes(chunk_index));
      for (uint32_t i = threadIdx.x; i < chunk.node_count / 2; i += shape.threads) {
        CopyAsync16(to + i, from + i);
      }
    }
  }

  __device__ uint32_t FindLeaf(const DeviceTree& tree, const DeviceChunk& chunk,
                               uint32_t chunk_index) const {
    if (tree.node_count == 0) return 0;
    if constexpr (kStaged) {
      if (chunk.node_count != 0) {
        return Walk<Node>(StagedNodes(chunk_index) + (tree.first_node - chunk.first_node),
                          Bytes(row()));
      }
    }
    return Walk<Node>(static_cast<const Node*>(forest.nodes) + tree.first_node, Bytes(row()));
  }

  __device__ void WalkChunk(const DeviceChunk& chunk, uint32_t chunk_index) {
    const float* source = inputs[row()];
    for (uint32_t i = slot(); i < chunk.tree_count; i += slots()) {
      const DeviceTree tree = forest.trees[chunk.first_tree + i];
      const uint32_t leaf = FindLeaf(tree, chunk, chunk_index);
      const uint32_t at = (i << shape.row_bits) + row();
      if (forest.vector_leaves) {
        Values<uint32_t>(chunk_index)[at] = tree.first_leaf + leaf;
      } else if (shape.fast) {
        partial = Add(partial, LeafValue<Real>(forest, tree, leaf, source));
      } else {
        Values<Real>(chunk_index)[at] = LeafValue<Real>(forest, tree, leaf, source);
      }
    }
  }

  __device__ void SumScalars(const DeviceChunk& chunk, uint32_t chunk_index) const {
    MR_SHARED_PTR(Real) values = Values<Real>(chunk_index);
    const uint32_t sums = chunk.segment_count << shape.row_bits;
    for (uint32_t i = threadIdx.x; i < sums; i += shape.threads) {
      const DeviceSegment segment = shape.segments[chunk.first_segment + (i >> shape.row_bits)];
      const uint32_t at = i & (rows() - 1);
      Real sum = GetSum(at * forest.groups + segment.group);
      MR_UNROLL_BY(8)  // loads run ahead; the additions cannot
      for (uint32_t s = segment.begin; s < segment.end; ++s) {
        sum = Add(sum, values[(s << shape.row_bits) + at]);
      }
      SetSum(at * forest.groups + segment.group, sum);
    }
  }

  __device__ void SumVectors(const DeviceChunk& chunk, uint32_t chunk_index) const {
    MR_SHARED_PTR(uint32_t) leaves = Values<uint32_t>(chunk_index);
    const Real* values = static_cast<const Real*>(forest.leaves);
    const uint32_t groups = forest.groups;
    for (uint32_t i = threadIdx.x; i < groups << shape.row_bits; i += shape.threads) {
      const uint32_t at = i / groups;
      Real sum = GetSum(i);
      MR_UNROLL_BY(4)
      for (uint32_t s = 0; s < chunk.tree_count; ++s) {
        const size_t leaf = leaves[(s << shape.row_bits) + at];
        sum = Add(sum, values[leaf * groups + i % groups]);
      }
      SetSum(i, sum);
    }
  }

  __device__ void Forest() {
    for (uint32_t k = 0; k < shape.chunk_count; ++k) {
      const DeviceChunk chunk = shape.chunks[k];
      Stage(k + 1);
      WalkChunk(chunk, k);
      CopyWait();
      __syncthreads();
      if (shape.fast) continue;
      if (forest.vector_leaves)
        SumVectors(chunk, k);
      else
        SumScalars(chunk, k);
    }
    if (shape.fast) Reduce();
  }

  // Halves the partial sums of each row until one is left.
  __device__ void Reduce() {
    MR_SHARED_PTR(Real) values = Values<Real>(0);
    values[threadIdx.x] = partial;
    for (uint32_t half = shape.threads / 2; half >= rows(); half /= 2) {
      __syncthreads();
      if (threadIdx.x < half) {
        const Real other = values[threadIdx.x + half];
        partial = Add(partial, other);
        values[threadIdx.x] = partial;
      }
    }
    if (threadIdx.x < rows()) SetSum(threadIdx.x, Add(GetSum(threadIdx.x), partial));
  }

  __device__ void Write(uint32_t live_rows) const {
    Real* margins = static_cast<Real*>(batch.margins);
    const size_t start = static_cast<size_t>(first_row()) * forest.groups;
    const uint32_t live = live_rows < rows() ? live_rows : rows();
    for (uint32_t i = threadIdx.x; i < live * forest.groups; i += shape.threads) {
      margins[start + i] = GetSum(i);
    }
  }
};

// Every block comes here; the last one tells the host.
__device__ inline void EndRun(const BatchView& batch, uint64_t sequence) {
  __syncthreads();  // behind it, thread 0 has seen what its block wrote
  if (threadIdx.x != 0) return;
  if (gridDim.x > 1) {
    if (TakeTicket(batch.ticket) != gridDim.x - 1) return;
    *batch.ticket = 0;
  }
  StoreRelease(batch.done, sequence);  // the margins of all blocks come before it
}

// Registers for this many of the largest blocks on one multiprocessor: more threads would be worth
// less than values that are loaded ahead of a sum.
inline constexpr int kBlocksAtOnce = 2;

template <typename Real, typename Node, bool kStaged, bool kSharedBytes>
__global__ void __launch_bounds__(kMaxTileThreads, kBlocksAtOnce)
    RunForest(const __grid_constant__ ForestView forest, const __grid_constant__ BatchView batch,
              const __grid_constant__ TileShape shape) {
  MR_DYNAMIC_SHARED(unsigned char, pool);
  MR_SHARED(const float*, inputs, kMaxTileRows);
  MR_SHARED(uint32_t, batch_rows, 1);
  Tile<Real, Node, kStaged, kSharedBytes> tile{forest, batch, shape, pool, inputs};
  // The header is on its way from the host while rows are ranked, those that nobody asked for, too.
  BatchHeader header = {};
  if (threadIdx.x == 0) header = *batch.header;
  tile.Begin();
  tile.Stage(0);
  __syncthreads();
  tile.Rank();
  CopyWait();
  if (threadIdx.x == 0) batch_rows[0] = header.rows;
  __syncthreads();
  const uint32_t rows = batch_rows[0];
  if (tile.first_row() < rows) {
    tile.Forest();
    __syncthreads();
    tile.Write(rows - tile.first_row());
  }
  EndRun(batch, header.sequence);
}

}  // namespace millrace::cuda
