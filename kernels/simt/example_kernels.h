// The body of the example: included by example.cu (nvcc) and example.cc (host compiler).
//
// Who may call: those two.
#pragma once

#include "kernels/simt/cuda.h"
#include "kernels/simt/example.h"

namespace millrace {
namespace example {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr unsigned kAllLanes = 0xffffffffu;

// The sum of a warp's values, in a fixed order; only lane 0 has it.
__device__ inline float SumOfWarp(float value) {
  for (int distance = 16; distance > 0; distance /= 2) {
    value = __fadd_rn(value, __shfl_down_sync(kAllLanes, value, distance));
  }
  return value;
}

__device__ inline float SumOf(MR_SHARED_PTR(const float) values, int count) {
  float sum = 0;
  for (int i = 0; i < count; ++i) sum = __fadd_rn(sum, values[i]);
  return sum;
}

// One block for each row. The row is staged in dynamic shared memory.
__global__ void __launch_bounds__(kThreads)
    SumRow(const float* __restrict__ numbers, int columns, float* sums, int* largest_bits) {
  MR_SHARED(float, of_warp, kWarps);
  MR_DYNAMIC_SHARED(float, row);
  for (int i = threadIdx.x; i < columns; i += blockDim.x) {
    row[i] = __ldg(numbers + static_cast<long long>(blockIdx.x) * columns + i);
  }
  __syncthreads();
  float sum = 0;
  for (int i = threadIdx.x; i < columns; i += blockDim.x) sum = __fadd_rn(sum, row[i]);
  sum = SumOfWarp(sum);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  sum = SumOf(of_warp, kWarps);
  sums[blockIdx.x] = sum;
  // Positive floats are ordered as their bits are.
  atomicMax(largest_bits, __float_as_int(sum));
}

inline cudaError_t Run(const float* numbers, int rows, int columns, float* device, float* sums,
                       float* largest, cudaStream_t stream) {
  const size_t bytes = sizeof(float) * rows * columns;
  float* const device_sums = device + static_cast<size_t>(rows) * columns;
  float* const device_largest = device_sums + rows;
  cudaError_t error = cudaMemcpyAsync(device, numbers, bytes, cudaMemcpyHostToDevice, stream);
  if (error != cudaSuccess) return error;
  error = cudaMemsetAsync(device_largest, 0, sizeof(float), stream);
  if (error != cudaSuccess) return error;
  MR_LAUNCH(SumRow, rows, kThreads, sizeof(float) * columns, stream, device, columns, device_sums,
            reinterpret_cast<int*>(device_largest));
  error = cudaGetLastError();
  if (error != cudaSuccess) return error;
  error = cudaMemcpyAsync(sums, device_sums, sizeof(float) * rows, cudaMemcpyDeviceToHost, stream);
  if (error != cudaSuccess) return error;
  error = cudaMemcpyAsync(largest, device_largest, sizeof(float), cudaMemcpyDeviceToHost, stream);
  if (error != cudaSuccess) return error;
  return cudaStreamSynchronize(stream);
}

}  // namespace example

int SumRows(const float* numbers, int rows, int columns, float* sums, float* largest) {
  const size_t count = static_cast<size_t>(rows) * columns + rows + 1;
  float* device = nullptr;
  cudaError_t error = cudaMalloc(&device, sizeof(float) * count);
  if (error != cudaSuccess) return error;
  cudaStream_t stream = nullptr;
  error = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  if (error == cudaSuccess) {
    error = example::Run(numbers, rows, columns, device, sums, largest, stream);
    cudaStreamDestroy(stream);
  }
  cudaFree(device);
  return error;
}

}  // namespace millrace
