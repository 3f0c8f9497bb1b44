#include <cuda_runtime_api.h>

#include "third_party/cuda/smoke.h"

namespace millrace {
namespace {

__global__ void Add(const float* addend, float* sum, int length) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < length) sum[i] += addend[i];
}

cudaError_t Run(const float* addend, float* sum, int length, float* device) {
  const size_t bytes = sizeof(float) * length;
  cudaError_t error = cudaMemcpy(device, addend, bytes, cudaMemcpyHostToDevice);
  if (error != cudaSuccess) return error;
  error = cudaMemcpy(device + length, sum, bytes, cudaMemcpyHostToDevice);
  if (error != cudaSuccess) return error;
  constexpr int kThreads = 128;
  Add<<<(length + kThreads - 1) / kThreads, kThreads>>>(device, device + length, length);
  error = cudaGetLastError();
  if (error != cudaSuccess) return error;
  return cudaMemcpy(sum, device + length, bytes, cudaMemcpyDeviceToHost);
}

}  // namespace

int AddOnDevice(const float* addend, float* sum, int length) {
  float* device = nullptr;
  cudaError_t error = cudaMalloc(&device, 2 * sizeof(float) * length);
  if (error != cudaSuccess) return error;
  error = Run(addend, sum, length, device);
  cudaFree(device);
  return error;
}

}  // namespace millrace
