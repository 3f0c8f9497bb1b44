// Each check of the shim on shared memory: a planted fault is seen under every schedule, and the
// kernel without the fault is not complained of.
#include <gtest/gtest.h>

#include <string>

#include "kernels/simt/check_schedules.h"
#include "kernels/simt/cuda.h"

namespace millrace::simt {
namespace {

constexpr unsigned kAll = 0xffffffffu;

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

// The reader's own atomic may be the last one: the others' are not forgotten for that.
template <bool kBarrier>
__global__ void AtomicsThenRead() {
  MR_SHARED(unsigned, count, 1);
  if (threadIdx.x == 0) count[0] = 0;
  __syncthreads();
  atomicAdd(&count[0], 1u);
  if (kBarrier) __syncthreads();
  if (threadIdx.x == 63 && count[0] == 1000) __trap();
}

TEST(Checks, AtomicsRaceWithAPlainRead) {
  Caught(Check::kRace, AtomicsThenRead<false>);
  Clean(AtomicsThenRead<true>);
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

}  // namespace
}  // namespace millrace::simt
