#include "kernels/cuda/launch.h"

#include "kernels/cuda/tile.cu.h"

namespace millrace::cuda {
namespace {

using ForestKernel = void (*)(const ForestView, const BatchView, const TileShape);

template <typename Real>
ForestKernel Choose(bool wide, const TileShape& shape) {
  if (wide) {
    return shape.shared_bytes_on ? RunForest<Real, PlanWideNode, false, true>
                                 : RunForest<Real, PlanWideNode, false, false>;
  }
  if (shape.staged_nodes != 0) return RunForest<Real, NodeWords, true, true>;
  return shape.shared_bytes_on ? RunForest<Real, NodeWords, false, true>
                               : RunForest<Real, NodeWords, false, false>;
}

ForestKernel Choose(const ForestKind& kind, const TileShape& shape) {
  return kind.xgboost ? Choose<float>(kind.wide, shape) : Choose<double>(kind.wide, shape);
}

}  // namespace

cudaError_t AllowShape(const ForestKind& kind, const TileShape& shape,
                       uint32_t shared_limit_bytes) {
  return cudaFuncSetAttribute(Choose(kind, shape), cudaFuncAttributeMaxDynamicSharedMemorySize,
                              static_cast<int>(shared_limit_bytes));
}

cudaError_t LaunchForest(const ForestKind& kind, const ForestView& forest, const BatchView& batch,
                         const TileShape& shape, uint32_t blocks, cudaStream_t stream) {
  const ForestKernel kernel = Choose(kind, shape);
  MR_LAUNCH(kernel, blocks, shape.threads, shape.pool_bytes, stream, forest, batch, shape);
  return cudaGetLastError();
}

}  // namespace millrace::cuda
