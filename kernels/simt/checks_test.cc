// Each check of the shim on barriers and warps: a planted fault is seen under every schedule, and
// the kernel without the fault is not complained of.
#include <gtest/gtest.h>

#include "kernels/simt/check_schedules.h"
#include "kernels/simt/cuda.h"

namespace millrace::simt {
namespace {

constexpr unsigned kAll = 0xffffffffu;

// Reads what a thread of the other warp wrote.
template <bool kBarrier>
__global__ void Neighbour() {
  MR_SHARED(int, values, 64);
  values[threadIdx.x] = 1;
  if (kBarrier) __syncthreads();
  if (values[63 - threadIdx.x] == 7) __trap();
}

TEST(Checks, MissingBarrier) {
  Caught(Check::kRace, Neighbour<false>);
  Clean(Neighbour<true>);
}

// The barrier before the next round's writes is the one that is forgotten most.
template <bool kBarrier>
__global__ void Rounds() {
  MR_SHARED(int, values, 64);
  for (int round = 0; round < 3; ++round) {
    values[threadIdx.x] = round;
    __syncthreads();
    if (values[(threadIdx.x + 33) % 64] == 7) __trap();
    if (kBarrier) __syncthreads();
  }
}

TEST(Checks, MissingBarrierBeforeTheNextRound) {
  OnlyCaught(Check::kRace, Rounds<false>);
  Clean(Rounds<true>);
}

__global__ void BarrierForSome() {
  if (threadIdx.x < 40) __syncthreads();
}
__global__ void ReturnBeforeBarrier() {
  if (threadIdx.x == 5) return;
  __syncthreads();
}
__global__ void TwoBarriers() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
__global__ void BarrierAgainstWarp() {
  if (threadIdx.x == 3) {
    __syncthreads();
  } else if (threadIdx.x < 32) {
    __syncwarp();
  }
}
__global__ void UniformBranch() {
  if (blockIdx.x == 0) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

TEST(Checks, DivergentBarrier) {
  OnlyCaught(Check::kDivergentBarrier, BarrierForSome);
  OnlyCaught(Check::kDivergentBarrier, ReturnBeforeBarrier);
  OnlyCaught(Check::kDivergentBarrier, TwoBarriers);
  Clean(UniformBranch);
}

TEST(Checks, BarrierAgainstCollective) {
  Caught(Check::kDivergentBarrier, BarrierAgainstWarp);
  Caught(Check::kMissingLane, BarrierAgainstWarp);
}

__global__ void LaneWaitsElsewhere() {
  if (threadIdx.x == 3) {
    __ballot_sync(1u << 3 | 1u << 4, 1);
  } else {
    __shfl_sync(kAll, 1, 0);
  }
}
__global__ void OtherOperation() {
  if (threadIdx.x % 2 == 0) {
    __syncwarp();
  } else {
    __ballot_sync(kAll, 1);
  }
}
__global__ void SameMaskForAll() { __shfl_sync(kAll, 1, 0); }

TEST(Checks, MissingLane) {
  OnlyCaught(Check::kMissingLane, LaneWaitsElsewhere);
  OnlyCaught(Check::kMissingLane, OtherOperation);
  Clean(SameMaskForAll);
}

__global__ void NotInOwnMask() { __ballot_sync(0x0000ffffu, 1); }
template <unsigned kMask>
__global__ void LowerHalf() {
  if (threadIdx.x % 32 < 16) __ballot_sync(kMask, 1);
}

TEST(Checks, WrongMask) {
  OnlyCaught(Check::kOwnLane, NotInOwnMask);
  OnlyCaught(Check::kExitedLane, LowerHalf<0xffffffffu>);
  Clean(LowerHalf<0x0000ffffu>);
}

__global__ void ExitThenShuffle() {
  if (threadIdx.x % 32 == 31) return;
  __shfl_down_sync(kAll, 1, 1);
}
__global__ void ShuffleThenExit() {
  if (threadIdx.x % 32 == 31) {
    __syncwarp(0x80000000u);
    return;
  }
  __syncwarp(0x7fffffffu);
  __shfl_down_sync(kAll, 1, 1);
}
__global__ void ShuffleWithoutTheExited() {
  if (threadIdx.x % 32 == 31) return;
  __shfl_xor_sync(0x7fffffffu, 1, threadIdx.x % 32 == 30 ? 0 : 0);
}

TEST(Checks, ExitedLaneInMask) {
  OnlyCaught(Check::kExitedLane, ExitThenShuffle);
  OnlyCaught(Check::kExitedLane, ShuffleThenExit);
  // The second warp has 16 lanes.
  OnlyCaught(Check::kExitedLane, SameMaskForAll, 48);
  Clean(ShuffleWithoutTheExited);
}

__global__ void ShuffleFromOutside() {
  if (threadIdx.x % 32 < 16) __shfl_sync(0x0000ffffu, 1, 16);
}
__global__ void ShuffleFromInside() {
  if (threadIdx.x % 32 < 16) __shfl_sync(0x0000ffffu, 1, 15);
}

TEST(Checks, ShuffleFromALaneOutsideTheMask) {
  OnlyCaught(Check::kShuffleSource, ShuffleFromOutside);
  Clean(ShuffleFromInside);
}

__global__ void SleepForEver() {
  MR_SHARED(unsigned, flag, 1);
  if (threadIdx.x == 0) flag[0] = 0;
  __syncthreads();
  while (atomicAdd(&flag[0], 0u) == 0) __nanosleep(100);
}
__global__ void StopHere() {
  if (threadIdx.x == 1) __trap();
}
__global__ void FiftyKilobytes() {
  MR_SHARED(unsigned char, first, 40 * 1024);
  MR_SHARED(unsigned char, second, 10 * 1024);
  first[threadIdx.x] = 0;
  second[threadIdx.x] = 0;
}

TEST(Checks, NoProgress) {
  ReportCollector collector;
  RunKernel(SleepForEver, 1, 2, 0);
  EXPECT_EQ(collector.Count(Check::kNoProgress), 1);
}

TEST(Checks, Trap) { OnlyCaught(Check::kTrap, StopHere); }

TEST(Checks, MoreSharedMemoryThanALaunchMayHave) {
  GridCall call;
  call.grid = 1;
  call.block = 32;
  call.body = FiftyKilobytes;
  {
    ReportCollector collector;
    RunGrid(call);
    EXPECT_EQ(collector.Count(Check::kSharedLimit), 1);
  }
  ReportCollector collector;
  call.shared_limit_bytes = kMaxSharedBytes;
  RunGrid(call);
  EXPECT_TRUE(collector.reports().empty());
}

// After a block that was abandoned in the middle the next launch starts with clean stacks.
TEST(Checks, TheNextLaunchIsSound) {
  ReportCollector collector;
  for (int i = 0; i < 100; ++i) RunKernel(ReturnBeforeBarrier, 1, 64, 0);
  EXPECT_EQ(collector.reports().size(), 100u);
  collector.Clear();
  RunKernel(Neighbour<true>, 4, 64, 0);
  EXPECT_TRUE(collector.reports().empty());
}

__global__ void Overrun() {
  MR_SHARED(int, values, 64);
  values[threadIdx.x + 1] = 1;
}

TEST(ChecksDeathTest, WithoutAHandlerTheProcessAborts) {
  EXPECT_DEATH(RunKernel(Overrun, 1, 64, 0), "simt: shared access out of range in kernel, block");
}

}  // namespace
}  // namespace millrace::simt
