// The rules of the fake runtime: what CUDA refuses is refused, what it does late is done late.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstdint>
#include <numeric>
#include <vector>

#include "kernels/simt/cuda.h"
#include "kernels/simt/faults.h"

namespace millrace::simt {
namespace {

__global__ void AddOne(int* values, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) values[i] += 1;
}

__global__ void UseShared(int* out, int count) {
  MR_DYNAMIC_SHARED(int, values);
  for (int i = threadIdx.x; i < count; i += blockDim.x) values[i] = i;
  __syncthreads();
  if (threadIdx.x == 0) out[0] = values[count - 1];
}

class Runtime : public testing::Test {
 protected:
  Runtime() { Faults::Reset(); }
  ~Runtime() override { Faults::Reset(); }

  int* Device(int count) {
    int* pointer = nullptr;
    EXPECT_EQ(cudaMalloc(&pointer, sizeof(int) * count), cudaSuccess);
    return pointer;
  }
  int* Pinned(int count) {
    int* pointer = nullptr;
    EXPECT_EQ(cudaHostAlloc(&pointer, sizeof(int) * count, cudaHostAllocMapped), cudaSuccess);
    return pointer;
  }
  cudaStream_t Stream(unsigned flags = cudaStreamNonBlocking) {
    cudaStream_t stream = nullptr;
    EXPECT_EQ(cudaStreamCreateWithFlags(&stream, flags), cudaSuccess);
    return stream;
  }
};

TEST_F(Runtime, WorkIsDoneWhenSomebodyWaits) {
  int* const device = Device(100);
  int* const host = Pinned(100);
  const cudaStream_t stream = Stream();
  std::iota(host, host + 100, 0);
  EXPECT_EQ(cudaMemcpyAsync(device, host, 400, cudaMemcpyHostToDevice, stream), cudaSuccess);
  MR_LAUNCH(AddOne, 2, 64, 0, stream, device, 100);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(host, device, 400, cudaMemcpyDeviceToHost, stream), cudaSuccess);
  EXPECT_EQ(host[7], 7);
  // Pinned memory is read when the copy runs, not when it is asked for.
  host[8] = 800;
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(host[7], 8);
  EXPECT_EQ(host[8], 801);
}

TEST_F(Runtime, EagerStreamsNeedNoWait) {
  Faults::Parse("streams=eager");
  int* const host = Pinned(1);
  host[0] = 1;
  const cudaStream_t stream = Stream();
  MR_LAUNCH(AddOne, 1, 32, 0, stream, host, 1);
  EXPECT_EQ(host[0], 2);
}

TEST_F(Runtime, PageableMemoryIsStagedAtOnce) {
  int* const device = Device(1);
  const cudaStream_t stream = Stream();
  int value = 5;
  EXPECT_EQ(cudaMemcpyAsync(device, &value, 4, cudaMemcpyHostToDevice, stream), cudaSuccess);
  value = 6;
  int back = 0;
  EXPECT_EQ(cudaMemcpyAsync(&back, device, 4, cudaMemcpyDeviceToHost, stream), cudaSuccess);
  EXPECT_EQ(back, 5);
}

TEST_F(Runtime, QueriesSayNotReadyAndComeToAnEnd) {
  int* const device = Device(1);
  const cudaStream_t stream = Stream();
  cudaEvent_t event = nullptr;
  EXPECT_EQ(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event), cudaSuccess);  // never recorded
  EXPECT_EQ(cudaMemsetAsync(device, 0, 4, stream), cudaSuccess);
  MR_LAUNCH(AddOne, 1, 32, 0, stream, device, 1);
  EXPECT_EQ(cudaEventRecord(event, stream), cudaSuccess);
  int asked = 1;
  while (cudaEventQuery(event) == cudaErrorNotReady) ++asked;
  EXPECT_EQ(asked, 4);  // one for each piece of work
  EXPECT_EQ(cudaGetLastError(), cudaErrorNotReady);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(cudaStreamQuery(stream), cudaSuccess);
  MR_LAUNCH(AddOne, 1, 32, 0, stream, device, 1);
  EXPECT_EQ(cudaStreamQuery(stream), cudaErrorNotReady);
  EXPECT_EQ(cudaStreamQuery(stream), cudaSuccess);
}

TEST_F(Runtime, EventsOrderStreams) {
  int* const device = Device(1);
  const cudaStream_t first = Stream();
  const cudaStream_t second = Stream();
  cudaEvent_t event = nullptr;
  EXPECT_EQ(cudaEventCreate(&event), cudaSuccess);
  EXPECT_EQ(cudaMemsetAsync(device, 0, 4, first), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(event, first), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(second, event), cudaSuccess);
  MR_LAUNCH(AddOne, 1, 32, 0, second, device, 1);
  int value = -1;
  EXPECT_EQ(cudaMemcpyAsync(&value, device, 4, cudaMemcpyDeviceToHost, second), cudaSuccess);
  EXPECT_EQ(value, 1);
  float elapsed = -1;
  EXPECT_EQ(cudaEventElapsedTime(&elapsed, event, event), cudaSuccess);
  EXPECT_EQ(elapsed, 0.0f);
}

// Without the event the second stream knows nothing of the first.
TEST_F(Runtime, StreamsAreNotOrdered) {
  int* const device = Device(1);
  const cudaStream_t first = Stream();
  const cudaStream_t second = Stream();
  EXPECT_EQ(cudaMemsetAsync(device, 0, 4, first), cudaSuccess);
  int value = -1;
  EXPECT_EQ(cudaMemcpyAsync(&value, device, 4, cudaMemcpyDeviceToHost, second), cudaSuccess);
  EXPECT_EQ(static_cast<unsigned>(value), 0xcdcdcdcdu);
}

TEST_F(Runtime, TheLegacyStreamWaitsForBlockingStreams) {
  int* const device = Device(1);
  const cudaStream_t stream = Stream(cudaStreamDefault);
  EXPECT_EQ(cudaMemsetAsync(device, 0, 4, stream), cudaSuccess);
  int value = -1;
  EXPECT_EQ(cudaMemcpy(&value, device, 4, cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_EQ(value, 0);
}

TEST_F(Runtime, ElapsedTimeNeedsTwoTimedEvents) {
  cudaEvent_t timed = nullptr, plain = nullptr;
  EXPECT_EQ(cudaEventCreate(&timed), cudaSuccess);
  EXPECT_EQ(cudaEventCreateWithFlags(&plain, cudaEventDisableTiming), cudaSuccess);
  float elapsed = 0;
  EXPECT_EQ(cudaEventElapsedTime(&elapsed, timed, timed), cudaErrorInvalidResourceHandle);
  const cudaStream_t stream = Stream();
  EXPECT_EQ(cudaEventRecord(timed, stream), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(plain, stream), cudaSuccess);
  EXPECT_EQ(cudaEventElapsedTime(&elapsed, timed, plain), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventElapsedTime(&elapsed, timed, timed), cudaErrorNotReady);
  EXPECT_EQ(cudaEventSynchronize(timed), cudaSuccess);
  EXPECT_EQ(cudaEventElapsedTime(&elapsed, timed, timed), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(timed), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(timed), cudaErrorInvalidResourceHandle);
}

TEST_F(Runtime, FreeingTwiceIsRefused) {
  int* const device = Device(10);
  int* const host = Pinned(10);
  EXPECT_EQ(cudaFree(device + 1), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(device), cudaSuccess);
  EXPECT_EQ(cudaFree(device), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(nullptr), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(host), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(host), cudaErrorInvalidValue);
  const cudaStream_t stream = Stream();
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaErrorInvalidResourceHandle);
}

TEST_F(Runtime, CopiesSayWhereTheyGo) {
  int* const device = Device(10);
  std::vector<int> host(20);
  EXPECT_EQ(cudaMemcpy(host.data(), device, 40, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(device, device, 40, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(device, host.data(), 40, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(device, host.data(), 44, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(device, host.data(), 40, static_cast<cudaMemcpyKind>(7)),
            cudaErrorInvalidMemcpyDirection);
  EXPECT_EQ(cudaMemcpy(device, host.data(), 40, cudaMemcpyHostToDevice), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(host.data(), device, 40, cudaMemcpyDefault), cudaSuccess);
  EXPECT_EQ(cudaMemset(host.data(), 0, 4), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(device), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(device, host.data(), 40, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
}

TEST_F(Runtime, MemoryRunsOut) {
  Faults::Parse("memory=1M");
  std::size_t free_bytes = 0, total_bytes = 0;
  EXPECT_EQ(cudaMemGetInfo(&free_bytes, &total_bytes), cudaSuccess);
  EXPECT_EQ(free_bytes, std::size_t{1} << 20);
  int* big = nullptr;
  EXPECT_EQ(cudaMalloc(&big, (1 << 20) + 1), cudaErrorMemoryAllocation);
  EXPECT_EQ(big, nullptr);
  EXPECT_EQ(cudaMalloc(&big, 1 << 20), cudaSuccess);
  int* small = nullptr;
  EXPECT_EQ(cudaMalloc(&small, 1), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaFree(big), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&small, 1), cudaSuccess);
  EXPECT_EQ(cudaMemGetInfo(&free_bytes, &total_bytes), cudaSuccess);
  EXPECT_EQ(free_bytes, (std::size_t{1} << 20) - 256);
}

TEST_F(Runtime, RegistrationHasRules) {
  constexpr std::size_t kBytes = 16384;
  void* const pages =
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* const host = static_cast<char*>(pages);
  void* device = nullptr;
  EXPECT_EQ(cudaHostGetDevicePointer(&device, host, 0), cudaErrorInvalidValue);
  EXPECT_EQ(cudaHostRegister(host, kBytes, 64), cudaErrorInvalidValue);
  EXPECT_EQ(cudaHostRegister(host, 0, cudaHostRegisterMapped), cudaErrorInvalidValue);
  EXPECT_EQ(cudaHostRegister(host, kBytes, cudaHostRegisterPortable), cudaSuccess);
  EXPECT_EQ(cudaHostGetDevicePointer(&device, host, 0), cudaErrorInvalidValue);  // not mapped
  EXPECT_EQ(cudaHostRegister(host + 4096, 1, cudaHostRegisterMapped),
            cudaErrorHostMemoryAlreadyRegistered);
  EXPECT_EQ(cudaHostUnregister(host + 4096), cudaErrorHostMemoryNotRegistered);
  EXPECT_EQ(cudaHostUnregister(host), cudaSuccess);
  EXPECT_EQ(cudaHostUnregister(host), cudaErrorHostMemoryNotRegistered);
  EXPECT_EQ(cudaHostRegister(host, kBytes, cudaHostRegisterMapped), cudaSuccess);
  EXPECT_EQ(cudaHostGetDevicePointer(&device, host + 8, 0), cudaSuccess);
  EXPECT_EQ(device, host + 8);
  EXPECT_EQ(cudaHostGetDevicePointer(&device, host + kBytes, 0), cudaErrorInvalidValue);
  EXPECT_EQ(cudaHostUnregister(host), cudaSuccess);

  // A peer's arena: mapped without leave to write.
  ASSERT_EQ(mprotect(pages, kBytes, PROT_READ), 0);
  EXPECT_EQ(cudaHostRegister(host, kBytes, cudaHostRegisterMapped), cudaErrorInvalidValue);
  EXPECT_EQ(cudaHostRegister(host, kBytes, cudaHostRegisterMapped | cudaHostRegisterReadOnly),
            cudaSuccess);
  EXPECT_EQ(cudaHostUnregister(host), cudaSuccess);
  munmap(pages, kBytes);
  EXPECT_EQ(cudaHostRegister(host, kBytes, cudaHostRegisterMapped | cudaHostRegisterReadOnly),
            cudaErrorInvalidValue);
}

TEST_F(Runtime, LaunchesAreChecked) {
  int* const device = Device(64);
  const cudaStream_t stream = Stream();
  MR_LAUNCH(AddOne, 1, 1025, 0, stream, device, 64);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidConfiguration);
  MR_LAUNCH(AddOne, 0, 32, 0, stream, device, 64);
  EXPECT_EQ(cudaPeekAtLastError(), cudaErrorInvalidConfiguration);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidConfiguration);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  MR_LAUNCH(UseShared, 1, 32, 64 * 1024, stream, device, 16 * 1024);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFuncSetAttribute(UseShared, cudaFuncAttributeMaxDynamicSharedMemorySize, 1 << 20),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaFuncSetAttribute(UseShared, cudaFuncAttributeMaxDynamicSharedMemorySize, 64 * 1024),
            cudaSuccess);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  MR_LAUNCH(UseShared, 1, 32, 64 * 1024, stream, device, 16 * 1024);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  MR_LAUNCH(AddOne, 1, 32, 0, reinterpret_cast<cudaStream_t>(0x1234560), device, 64);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidResourceHandle);
}

TEST_F(Runtime, AKernelIsGivenWhatTheDeviceSees) {
  const cudaStream_t stream = Stream();
  std::vector<int> host(64);
  ReportCollector collector;
  MR_LAUNCH(AddOne, 1, 32, 0, stream, host.data(), 64);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorIllegalAddress);
  EXPECT_EQ(collector.Count(Check::kHostPointer), 1);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorIllegalAddress);
}

TEST_F(Runtime, AKernelIsNotGivenWhatWasFreed) {
  const cudaStream_t stream = Stream();
  int* const device = Device(64);
  EXPECT_EQ(cudaFree(device), cudaSuccess);
  ReportCollector collector;
  MR_LAUNCH(AddOne, 1, 32, 0, stream, device, 64);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  EXPECT_EQ(collector.Count(Check::kHostPointer), 1);
}

TEST_F(Runtime, AReportedKernelFailsItsStream) {
  const cudaStream_t stream = Stream();
  int* const device = Device(1);
  ReportCollector collector;
  MR_LAUNCH(UseShared, 1, 32, 60, stream, device, 16);  // one element too few
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorIllegalAddress);
  EXPECT_GT(collector.Count(Check::kOutOfRange), 0);
  EXPECT_EQ(collector.reports()[0].kernel, "UseShared");
  EXPECT_EQ(cudaFree(device), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
}

TEST_F(Runtime, DescribesItsDevice) {
  cudaDeviceProp properties;
  EXPECT_EQ(cudaGetDeviceProperties(&properties, 1), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaGetDeviceProperties(&properties, 0), cudaSuccess);
  EXPECT_EQ(properties.warpSize, 32);
  int value = 0;
  EXPECT_EQ(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, 0), cudaSuccess);
  EXPECT_EQ(value, properties.multiProcessorCount);
  EXPECT_EQ(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, 3),
            cudaErrorInvalidDevice);
  cudaFuncAttributes attributes;
  EXPECT_EQ(cudaFuncGetAttributes(&attributes, AddOne), cudaSuccess);
  EXPECT_EQ(attributes.maxThreadsPerBlock, 1024);
  int blocks = 0;
  EXPECT_EQ(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, AddOne, 256, 0), cudaSuccess);
  EXPECT_EQ(blocks, 8);
  EXPECT_STREQ(cudaGetErrorName(cudaErrorIllegalAddress), "cudaErrorIllegalAddress");
}

using RuntimeDeathTest = Runtime;

TEST_F(RuntimeDeathTest, TheHostCannotTouchDeviceMemory) {
  int* const device = Device(1);
  EXPECT_DEATH(*static_cast<volatile int*>(device) = 1, "");
  Faults::Parse("streams=eager");
  EXPECT_EQ(cudaMemset(device, 0, 4), cudaSuccess);
  EXPECT_DEATH(*static_cast<volatile int*>(device) = 1, "");
}

}  // namespace
}  // namespace millrace::simt
