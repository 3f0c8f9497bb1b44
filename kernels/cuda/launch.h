// The door from host code to the forest kernel.
//
// Who may call: a model's thread. The launch is asynchronous, and may be captured in a graph.
// Invariants:
//   1. A kernel's dynamic shared memory was allowed by AllowShape before its first launch. It is
//   always
//      allowed all that the device has: the permission is the kernel's, not the model's, and what
//      another model needs must not take it back.
// Fails: with CUDA's own error code.
#pragma once

#include "kernels/cuda/forest.h"
#include "kernels/simt/cuda.h"

namespace millrace::cuda {

struct ForestKind {
  bool xgboost;  // margins are float; else double
  bool wide;
};

cudaError_t AllowShape(const ForestKind& kind, const TileShape& shape, uint32_t shared_limit_bytes);

// `blocks` tiles: blocks << shape.row_bits rows, of which the header's are answered.
cudaError_t LaunchForest(const ForestKind& kind, const ForestView& forest, const BatchView& batch,
                         const TileShape& shape, uint32_t blocks, cudaStream_t stream);

}  // namespace millrace::cuda
