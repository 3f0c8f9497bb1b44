// Which shape a batch is run in: rows of a block, threads, what lies in shared memory.
//
// Purpose: the choices that make a kernel fast, in one place without any CUDA in it.
// Who may call: Open() of a model, and tests, which force other shapes. Pure functions.
// Invariants:
//   1. Whatever is asked for, the shape that comes back fits `shared_limit_bytes`, or there is
//   none.
//   2. No result depends on a shape, but for `fast`.
// Fails: FitTile with false, where even the smallest pool is too large for the device.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cuda/forest.h"

namespace millrace::cuda {

// What a shape depends on.
struct ForestFacts {
  uint32_t features = 0;  // that some node looks at
  uint32_t columns = 0;
  uint32_t groups = 0;
  uint32_t trees = 0;
  uint64_t nodes = 0;         // as they stand on the device, each tree at an even place
  uint32_t margin_bytes = 0;  // 4 or 8
  bool wide = false;
  bool vector_leaves = false;
};

struct DeviceLimits {
  uint32_t multiprocessors = 1;
  uint32_t shared_limit_bytes = 48 * 1024;  // of dynamic shared memory in a block
};

// What is wished for; FitTile takes back what does not fit.
struct TileRules {
  uint32_t rows = 1;          // of a block: a power of two, at most kMaxTileRows
  uint32_t threads = 128;     // a power of two, 32 to kMaxTileThreads, at least `rows`
  uint32_t passes = 1;        // a thread's trees in a chunk
  uint32_t staged_bytes = 0;  // of one buffer for nodes; 0: nodes are read from device memory
  bool shared_bytes = true;   // column bytes in shared memory
  bool shared_sums = true;
  bool warp_rank = false;
  bool fast = false;
};

// As measured on an H100 (kernels/bench/results); tools/dev gpu --shapes measures it anew.
TileRules ChooseRules(const ForestFacts& facts, const DeviceLimits& limits, uint64_t bucket_rows,
                      bool fast);

// All of `shape` but its lists.
bool FitTile(const ForestFacts& facts, const TileRules& rules, uint32_t shared_limit_bytes,
             TileShape* shape);

struct ChunkLists {
  std::vector<DeviceChunk> chunks;
  std::vector<DeviceSegment> segments;
};

// groups[i] is the margin that trees[i] adds to; they rise. `vector_leaves`: no segments.
ChunkLists MakeChunks(std::span<const DeviceTree> trees, std::span<const uint32_t> groups,
                      bool vector_leaves, const TileShape& shape);

}  // namespace millrace::cuda
