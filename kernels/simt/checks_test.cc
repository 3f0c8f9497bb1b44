// Each check of the shim: a planted fault is seen under every schedule, and the kernel without the
// fault is not complained of.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/simt/cuda.h"

namespace millrace::simt {
namespace {

constexpr unsigned kAll = 0xffffffffu;
constexpr int kSeeds = 64;

// Runs a kernel of no arguments under every seed; `see` looks at each one's reports.
template <class F>
void ForEachSeed(void (*kernel)(), dim3 grid, dim3 block, std::size_t dynamic_bytes, F see,
                 Options options = {}) {
  for (int seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    options.seed = seed;
    options.switch_one_in = seed % 4 * 3;
    SetOptions(options);
    ReportCollector collector;
    const GridResult result = RunKernel(kernel, grid, block, dynamic_bytes);
    EXPECT_EQ(result.reports == 0, collector.reports().empty());
    see(collector);
  }
  SetOptions(Options{});
}

void Caught(Check check, void (*kernel)(), dim3 block = 64, std::size_t dynamic_bytes = 0,
            Options options = {}) {
  ForEachSeed(
      kernel, 2, block, dynamic_bytes,
      [&](const ReportCollector& collector) {
        EXPECT_GT(collector.Count(check), 0);
        for (const Report& report : collector.reports()) {
          EXPECT_FALSE(report.sentence.empty());
          EXPECT_EQ(report.kernel, "kernel");
        }
      },
      options);
}

// The check complains, and no other does.
void OnlyCaught(Check check, void (*kernel)(), dim3 block = 64, std::size_t dynamic_bytes = 0) {
  ForEachSeed(kernel, 2, block, dynamic_bytes, [&](const ReportCollector& collector) {
    EXPECT_GT(collector.Count(check), 0);
    for (const Report& report : collector.reports()) {
      EXPECT_EQ(report.check, check) << ToString(report);
    }
  });
}

void Clean(void (*kernel)(), dim3 block = 64, std::size_t dynamic_bytes = 0, Options options = {}) {
  ForEachSeed(
      kernel, 2, block, dynamic_bytes,
      [](const ReportCollector& collector) {
        for (const Report& report : collector.reports()) ADD_FAILURE() << ToString(report);
      },
      options);
}

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

template <int kOffset>
__global__ void Shifted() {
  MR_SHARED(int, values, 64);
  values[static_cast<int>(threadIdx.x) + kOffset] = 1;
}
template <int kCount>
__global__ void SliceOverrun() {
  MR_DYNAMIC_SHARED(unsigned char, pool);
  MR_SHARED_PTR(float) head = MR_SHARED_SLICE(float, pool, 0, 32);
  MR_SHARED_PTR(float) tail = MR_SHARED_SLICE(float, pool, 128, 32);
  if (threadIdx.x == 0) {
    for (int i = 0; i < kCount; ++i) head[i] = 0;
    tail[0] = 0;
  }
}
__global__ void DynamicOverrun() {
  MR_DYNAMIC_SHARED(int, values);
  values[threadIdx.x] = 0;
}
__global__ void FarPointer() {
  MR_SHARED(int, values, 64);
  if (threadIdx.x == 0) *(values + 1000000) = 1;
}
// A pointer may pass the end and come back; only what it touches counts.
__global__ void ThereAndBack() {
  MR_SHARED(int, values, 64);
  MR_SHARED_PTR(int) end = values + 64;
  *(end - 1 - threadIdx.x) = 1;
}

TEST(Checks, OverrunAndUnderrun) {
  OnlyCaught(Check::kOutOfRange, Shifted<1>);
  OnlyCaught(Check::kOutOfRange, Shifted<-1>);
  OnlyCaught(Check::kOutOfRange, FarPointer);
  OnlyCaught(Check::kOutOfRange, SliceOverrun<33>, 64, 256);
  OnlyCaught(Check::kOutOfRange, DynamicOverrun, 64, 63 * sizeof(int));
  Clean(Shifted<0>);
  Clean(ThereAndBack);
  Clean(SliceOverrun<32>, 64, 256);
  Clean(DynamicOverrun, 64, 64 * sizeof(int));
}

TEST(Checks, AnOverrunIsAnIllegalAddress) {
  ReportCollector collector;
  EXPECT_TRUE(RunKernel(Shifted<1>, 1, 64, 0).illegal_address);
  EXPECT_NE(collector.reports().at(0).sentence.find("values[64] of 64"), std::string::npos)
      << collector.reports().at(0).sentence;
  EXPECT_EQ(collector.reports().at(0).thread.x, 63u);
}

template <int kOffset>
__global__ void CastAndStore() {
  MR_DYNAMIC_SHARED(unsigned char, pool);
  MR_SHARED_PTR(double) wide = MR_SHARED_CAST(double, pool + kOffset);
  if (threadIdx.x == 0) wide[0] = 1;
}

TEST(Checks, Misaligned) {
  OnlyCaught(Check::kMisaligned, CastAndStore<4>, 64, 64);
  Clean(CastAndStore<8>, 64, 64);
}

template <bool kWrite>
__global__ void ReadFresh() {
  MR_SHARED(short, values, 64);
  // Of an int that is read whole, one half is left out.
  if (kWrite || threadIdx.x != 9) values[threadIdx.x] = 1;
  __syncthreads();
  if (threadIdx.x < 32 && MR_SHARED_CAST(int, values)[threadIdx.x] == 7) __trap();
}

// Every block finds its shared memory fresh: two run, both are seen.
TEST(Checks, UninitializedRead) {
  OnlyCaught(Check::kUninitialized, ReadFresh<false>);
  Clean(ReadFresh<true>);
  ReportCollector collector;
  RunKernel(ReadFresh<false>, 2, 64, 0);
  EXPECT_EQ(collector.Count(Check::kUninitialized), 2);
}

__global__ void AllWriteOne() {
  MR_SHARED(int, value, 1);
  value[0] = 1;
}
__global__ void OneWritesOne() {
  MR_SHARED(int, value, 1);
  if (threadIdx.x == 0) value[0] = 1;
  __syncthreads();
  if (value[0] == 7) __trap();
}
__global__ void BytesOfOneWord() {
  MR_SHARED(unsigned char, bytes, 64);
  bytes[threadIdx.x] = 1;
}
__global__ void WordOverBytes() {
  MR_SHARED(int, words, 16);
  MR_SHARED_PTR(unsigned char) bytes = MR_SHARED_CAST(unsigned char, words);
  if (threadIdx.x == 0) words[3] = 1;
  if (threadIdx.x == 40) bytes[15] = 1;
}
template <bool kAtomic>
__global__ void Count() {
  MR_SHARED(unsigned, count, 1);
  if (threadIdx.x == 0) count[0] = 0;
  __syncthreads();
  if (kAtomic || threadIdx.x % 2 == 0) {
    atomicAdd(&count[0], 1u);
  } else {
    count[0] += 1;
  }
}

TEST(Checks, RaceWithoutABarrier) {
  OnlyCaught(Check::kRace, AllWriteOne);
  OnlyCaught(Check::kRace, WordOverBytes);
  OnlyCaught(Check::kRace, Count<false>);
  Clean(OneWritesOne);
  Clean(BytesOfOneWord);
  Clean(Count<true>);
}

enum class Between { kNothing, kSyncWarp, kVote, kHalves };

template <Between kBetween>
__global__ void Exchange() {
  MR_SHARED(int, values, 64);
  values[threadIdx.x] = 1;
  if (kBetween == Between::kSyncWarp) __syncwarp();
  if (kBetween == Between::kVote) __ballot_sync(kAll, 1);
  if (kBetween == Between::kHalves) {
    __syncwarp(threadIdx.x % 32 < 16 ? 0x0000ffffu : 0xffff0000u);
  }
  if (values[threadIdx.x ^ 1] == 7) __trap();
  if (kBetween == Between::kHalves && values[threadIdx.x ^ 16] == 7) __trap();
}

TEST(Checks, RaceInsideAWarp) {
  Caught(Check::kRace, Exchange<Between::kNothing>);
  Clean(Exchange<Between::kSyncWarp>);
}

// What CUDA says: a vote orders no memory.
TEST(Checks, AVoteIsNoBarrier) {
  Caught(Check::kRace, Exchange<Between::kVote>);
  Options options;
  options.collectives_order_memory = true;
  Clean(Exchange<Between::kVote>, 64, 0, options);
}

TEST(Checks, HalvesOfAWarpAreOrderedApart) { Caught(Check::kRace, Exchange<Between::kHalves>); }

// Order is passed on: 0 to 1, then 1 to 2.
template <bool kSecond>
__global__ void Chain() {
  MR_SHARED(int, value, 1);
  const unsigned lane = threadIdx.x;
  if (lane == 0) value[0] = 1;
  if (lane <= 1) __syncwarp(0x3);
  if (kSecond && (lane == 1 || lane == 2)) __syncwarp(0x6);
  if (lane == 2 && value[0] == 7) __trap();
}

TEST(Checks, OrderIsPassedOn) {
  Caught(Check::kRace, Chain<false>, 32);
  Clean(Chain<true>, 32);
}

__global__ void ReadersThenWriter() {
  MR_SHARED(int, value, 1);
  if (threadIdx.x == 0) value[0] = 1;
  __syncthreads();
  if (value[0] == 7) __trap();
  __syncwarp();
  if (threadIdx.x == 0) value[0] = 2;  // lanes of the other warp may still read
}

TEST(Checks, AWarpBarrierDoesNotOrderOtherWarps) {
  OnlyCaught(Check::kRace, ReadersThenWriter);
  Clean(ReadersThenWriter, 32);
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

TEST(ChecksDeathTest, WithoutAHandlerTheProcessAborts) {
  EXPECT_DEATH(RunKernel(Shifted<1>, 1, 64, 0),
               "simt: shared access out of range in kernel, block");
}

}  // namespace
}  // namespace millrace::simt
