// Runs the kernel where there is a device; where there is none, its error must say just that.
#include "third_party/cuda/smoke.h"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <vector>

namespace millrace {
namespace {

TEST(CudaSmoke, AddsOnTheDeviceOrSaysThatThereIsNone) {
  std::vector<float> addend(1000), sum(1000, 0.5f);
  for (int i = 0; i < 1000; ++i) addend[i] = static_cast<float>(i);

  int devices = 0;
  const cudaError_t counted = cudaGetDeviceCount(&devices);
  const int error = AddOnDevice(addend.data(), sum.data(), 1000);
  if (counted != cudaSuccess || devices == 0) {
    EXPECT_TRUE(error == cudaErrorInsufficientDriver || error == cudaErrorNoDevice) << error;
    GTEST_SKIP() << "no CUDA device: " << cudaGetErrorString(static_cast<cudaError_t>(error));
  }
  ASSERT_EQ(error, cudaSuccess) << cudaGetErrorString(static_cast<cudaError_t>(error));
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(sum[i], static_cast<float>(i) + 0.5f);
}

}  // namespace
}  // namespace millrace
