// Errors on order: by number, by function, sticky and not, and machines without a device.
#include "kernels/simt/faults.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "kernels/simt/cuda.h"

namespace millrace::simt {
namespace {

__global__ void Nothing() {}

class FaultsTest : public testing::Test {
 protected:
  FaultsTest() { Faults::Reset(); }
  ~FaultsTest() override { Faults::Reset(); }
  void* pointer_ = nullptr;
};

TEST_F(FaultsTest, CallsAreCounted) {
  EXPECT_EQ(cudaMalloc(&pointer_, 16), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&pointer_, 16), cudaSuccess);
  MR_LAUNCH(Nothing, 1, 32, 0, nullptr);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  cudaGetErrorString(cudaSuccess);
  EXPECT_EQ(Faults::Calls(), 4u);
  EXPECT_EQ(Faults::Calls("cudaMalloc"), 2u);
  EXPECT_EQ(Faults::Calls("cudaLaunchKernel"), 1u);
  EXPECT_EQ(Faults::Calls("kernel"), 1u);
  EXPECT_EQ(Faults::Calls("cudaFree"), 0u);
}

TEST_F(FaultsTest, OneCallByNumber) {
  Faults::Parse("#2=2");
  EXPECT_EQ(cudaMalloc(&pointer_, 16), cudaSuccess);
  void* const first = pointer_;
  EXPECT_EQ(cudaMalloc(&pointer_, 16), cudaErrorMemoryAllocation);
  EXPECT_EQ(pointer_, first) << "a failing call does nothing";
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&pointer_, 16), cudaSuccess);
}

TEST_F(FaultsTest, OneCallOfAFunction) {
  Faults::FailCall("cudaFree", 2, cudaErrorInvalidValue);
  EXPECT_EQ(cudaMalloc(&pointer_, 16), cudaSuccess);
  EXPECT_EQ(cudaFree(nullptr), cudaSuccess);
  EXPECT_EQ(cudaFree(pointer_), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(pointer_), cudaSuccess);
}

TEST_F(FaultsTest, AllCallsFromOneOn) {
  Faults::Parse("cudaMalloc#2+=2");
  EXPECT_EQ(cudaMalloc(&pointer_, 16), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&pointer_, 16), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&pointer_, 16), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMallocHost(&pointer_, 16), cudaSuccess);
}

TEST_F(FaultsTest, StickyErrorsStay) {
  Faults::Parse("cudaMemset#1=700");
  EXPECT_EQ(cudaMalloc(&pointer_, 16), cudaSuccess);
  EXPECT_EQ(cudaMemset(pointer_, 0, 16), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaMemset(pointer_, 0, 16), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaFree(pointer_), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaDeviceReset(), cudaErrorIllegalAddress);
  int version = 0;
  EXPECT_EQ(cudaDriverGetVersion(&version), cudaSuccess);
}

TEST_F(FaultsTest, AFailingLaunchIsSeenThroughTheLastError) {
  Faults::Parse("cudaLaunchKernel#1=701");
  MR_LAUNCH(Nothing, 1, 32, 0, nullptr);
  EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchOutOfResources);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

TEST_F(FaultsTest, AFailingKernelIsSeenByWhoWaits) {
  Faults::Parse("kernel#2=719");
  MR_LAUNCH(Nothing, 1, 32, 0, nullptr);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  MR_LAUNCH(Nothing, 1, 32, 0, nullptr);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
  EXPECT_EQ(cudaMalloc(&pointer_, 16), cudaErrorLaunchFailure);
}

TEST_F(FaultsTest, NoDriver) {
  Faults::Parse("driver=0");
  int version = -1, count = -1;
  EXPECT_EQ(cudaDriverGetVersion(&version), cudaSuccess);
  EXPECT_EQ(version, 0);
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaErrorInsufficientDriver);
  EXPECT_EQ(count, -1) << "it is left alone";
  EXPECT_EQ(cudaMalloc(&pointer_, 16), cudaErrorInsufficientDriver);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInsufficientDriver);
  MR_LAUNCH(Nothing, 1, 32, 0, nullptr);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInsufficientDriver);
}

TEST_F(FaultsTest, AnOldDriver) {
  Faults::Parse("driver=12080");
  int version = -1, count = -1;
  EXPECT_EQ(cudaDriverGetVersion(&version), cudaSuccess);
  EXPECT_EQ(version, 12080);
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaErrorInsufficientDriver);
}

TEST_F(FaultsTest, NoDevice) {
  Faults::Parse("devices=0");
  int count = -1;
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaErrorNoDevice);
  EXPECT_EQ(cudaSetDevice(0), cudaErrorNoDevice);
  EXPECT_EQ(cudaMalloc(&pointer_, 16), cudaErrorNoDevice);
}

TEST_F(FaultsTest, OptionsOfTheSchedule) {
  Faults::Parse("seed=7,switch=0");
  EXPECT_EQ(GetOptions().seed, 7u);
  EXPECT_EQ(GetOptions().switch_one_in, 0u);
  SetOptions(Options{});
}

using FaultsDeathTest = FaultsTest;

TEST_F(FaultsDeathTest, WhatIsNotUnderstoodEndsTheProcess) {
  EXPECT_DEATH(Faults::Parse("cudaMalloc"), "it has no '='");
  EXPECT_DEATH(Faults::Parse("cudaMalloc#x=2"), "a number is missing");
  EXPECT_DEATH(Faults::Parse("#0=2"), "counted from 1");
  EXPECT_DEATH(Faults::Parse("cudaMalloc#1=5000"), "no error of CUDA");
  EXPECT_DEATH(Faults::Parse("memory=12Q"), "followed by something else");
  EXPECT_DEATH(Faults::Parse("speed=9"), "none of those");
}

// A process is told by its environment: run anew, as the variable is read once.
TEST(FaultsEnvironmentDeathTest, TheEnvironmentSetsFaults) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  setenv("MILLRACE_SIMT_FAULTS", "cudaMalloc#1=2,driver=13010", 1);
  EXPECT_EXIT(
      {
        int version = 0;
        void* pointer = nullptr;
        cudaDriverGetVersion(&version);
        const cudaError_t error = cudaMalloc(&pointer, 16);
        std::exit(version == 13010 && error == cudaErrorMemoryAllocation ? 17 : 1);
      },
      testing::ExitedWithCode(17), "");
  unsetenv("MILLRACE_SIMT_FAULTS");
}

}  // namespace
}  // namespace millrace::simt
