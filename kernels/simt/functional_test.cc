// What correct kernels compute under the shim, for many schedules: the same as plain loops.
#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <numeric>
#include <vector>

#include "kernels/simt/cuda.h"

namespace millrace::simt {
namespace {

constexpr unsigned kAll = 0xffffffffu;
constexpr int kSeeds = 24;

// Runs `body` under many schedules and sees that nothing was reported.
template <class F>
void ForEachSeed(F body) {
  for (int seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Options options;
    options.seed = seed;
    options.switch_one_in = seed % 3 == 0 ? 0 : 4;
    SetOptions(options);
    ReportCollector collector;
    body();
    for (const Report& report : collector.reports()) ADD_FAILURE() << ToString(report);
  }
  SetOptions(Options{});
}

__global__ void SumBlock(const float* in, int length, float* out) {
  MR_SHARED(float, of_warp, 32);
  float sum = 0;
  for (int i = threadIdx.x; i < length; i += blockDim.x) sum += in[blockIdx.x * length + i];
  for (int distance = 16; distance > 0; distance /= 2) {
    sum += __shfl_down_sync(kAll, sum, distance);
  }
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x < 32) {
    sum = threadIdx.x < blockDim.x / 32 ? of_warp[threadIdx.x] : 0.0f;
    for (int distance = 16; distance > 0; distance /= 2) {
      sum += __shfl_xor_sync(kAll, sum, distance);
    }
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
  }
}

TEST(Functional, ReductionByShuffles) {
  constexpr int kBlocks = 8, kLength = 1000;
  std::vector<float> in(kBlocks * kLength), out(kBlocks);
  std::iota(in.begin(), in.end(), 0.0f);
  ForEachSeed([&] {
    out.assign(kBlocks, -1);
    RunKernel(SumBlock, kBlocks, 256, 0, in.data(), kLength, out.data());
    for (int block = 0; block < kBlocks; ++block) {
      const float first = static_cast<float>(block * kLength);
      EXPECT_FLOAT_EQ(out[block], kLength * first + kLength * (kLength - 1) / 2.0f);
    }
  });
}

constexpr int kTile = 16;

__global__ void MultiplyTiled(const float* a, const float* b, float* c, int n) {
  MR_DYNAMIC_SHARED(unsigned char, pool);
  MR_SHARED_PTR(float) tile_a = MR_SHARED_SLICE(float, pool, 0, kTile* kTile);
  MR_SHARED_PTR(float)
  tile_b = MR_SHARED_SLICE(float, pool, kTile* kTile * sizeof(float), kTile * kTile);
  const int row = blockIdx.y * kTile + threadIdx.y;
  const int column = blockIdx.x * kTile + threadIdx.x;
  float sum = 0;
  for (int tile = 0; tile < n / kTile; ++tile) {
    tile_a[threadIdx.y * kTile + threadIdx.x] = a[row * n + tile * kTile + threadIdx.x];
    tile_b[threadIdx.y * kTile + threadIdx.x] = b[(tile * kTile + threadIdx.y) * n + column];
    __syncthreads();
    MR_UNROLL
    for (int k = 0; k < kTile; ++k) {
      sum += tile_a[threadIdx.y * kTile + k] * tile_b[k * kTile + threadIdx.x];
    }
    __syncthreads();
  }
  c[row * n + column] = sum;
}

TEST(Functional, TiledProductOfMatrices) {
  constexpr int kSize = 32;
  std::vector<float> a(kSize * kSize), b(kSize * kSize), c(kSize * kSize), expected(kSize * kSize);
  for (int i = 0; i < kSize * kSize; ++i) {
    a[i] = static_cast<float>(i % 7) - 3;
    b[i] = static_cast<float>(i % 5) - 2;
  }
  for (int i = 0; i < kSize; ++i) {
    for (int j = 0; j < kSize; ++j) {
      for (int k = 0; k < kSize; ++k)
        expected[i * kSize + j] += a[i * kSize + k] * b[k * kSize + j];
    }
  }
  ForEachSeed([&] {
    c.assign(kSize * kSize, -1);
    RunKernel(MultiplyTiled, dim3(kSize / kTile, kSize / kTile), dim3(kTile, kTile),
              2 * kTile * kTile * sizeof(float), a.data(), b.data(), c.data(), kSize);
    EXPECT_EQ(c, expected);
  });
}

__global__ void Histogram(const unsigned char* in, int length, unsigned* bins) {
  MR_SHARED(unsigned, local, 16);
  if (threadIdx.x < 16) local[threadIdx.x] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < length; i += gridDim.x * blockDim.x) {
    atomicAdd(&local[in[i] % 16], 1u);
  }
  __syncthreads();
  if (threadIdx.x < 16) atomicAdd(&bins[threadIdx.x], static_cast<unsigned>(local[threadIdx.x]));
}

TEST(Functional, HistogramByAtomics) {
  std::vector<unsigned char> in(5000);
  std::vector<unsigned> expected(16), bins;
  for (int i = 0; i < 5000; ++i) {
    in[i] = static_cast<unsigned char>(i * 31 % 251);
    ++expected[in[i] % 16];
  }
  ForEachSeed([&] {
    bins.assign(16, 0);
    RunKernel(Histogram, 3, 96, 0, in.data(), 5000, bins.data());
    EXPECT_EQ(bins, expected);
  });
}

struct Votes {
  unsigned ballot, any, all, match, add, up, down, index, segment;
  int least;
  long long wide;
};

__global__ void Vote(Votes* votes) {
  const int lane = static_cast<int>(threadIdx.x);
  Votes& v = votes[lane];
  v.ballot = __ballot_sync(kAll, lane % 3 == 0);
  v.any = __any_sync(kAll, lane == 7);
  v.all = __all_sync(kAll, lane < 31);
  v.match = __match_any_sync(kAll, lane / 4);
  v.add = __reduce_add_sync(kAll, static_cast<unsigned>(lane));
  v.least = __reduce_min_sync(kAll, 5 - lane);
  v.up = __shfl_up_sync(kAll, lane, 3);
  v.down = __shfl_down_sync(kAll, lane, 3, 8);
  v.index = __shfl_sync(kAll, lane, 9);
  v.segment = __shfl_sync(kAll, lane, 9, 8);
  v.wide = __shfl_xor_sync(kAll, (static_cast<long long>(lane) << 40) + 1, 1);
}

TEST(Functional, VotesAndShuffles) {
  ForEachSeed([] {
    std::vector<Votes> votes(32);
    RunKernel(Vote, 1, 32, 0, votes.data());
    for (unsigned lane = 0; lane < 32; ++lane) {
      const Votes& v = votes[lane];
      EXPECT_EQ(v.ballot, 0x49249249u);
      EXPECT_EQ(v.any, 1u);
      EXPECT_EQ(v.all, 0u);
      EXPECT_EQ(v.match, 0xfu << (lane / 4 * 4));
      EXPECT_EQ(v.add, 496u);
      EXPECT_EQ(v.least, -26);
      EXPECT_EQ(v.up, lane < 3 ? lane : lane - 3);
      EXPECT_EQ(v.down, lane % 8 > 4 ? lane : lane + 3);
      EXPECT_EQ(v.index, 9u);
      EXPECT_EQ(v.segment, lane / 8 * 8 + 1);
      EXPECT_EQ(v.wide, (static_cast<long long>(lane ^ 1) << 40) + 1);
    }
  });
}

// Halves of a warp go different ways, each with its own mask, and meet again.
__global__ void Diverge(unsigned* out) {
  const unsigned lane = threadIdx.x % 32;
  unsigned value;
  if (lane < 16) {
    value = __reduce_add_sync(0x0000ffffu, lane);
  } else {
    value = __reduce_max_sync(0xffff0000u, lane);
    value += __popc(__ballot_sync(0xffff0000u, lane & 1));
  }
  __syncwarp();
  out[threadIdx.x] = value + static_cast<unsigned>(__syncthreads_count(lane == 0));
}

TEST(Functional, HalvesOfAWarpDiverge) {
  ForEachSeed([] {
    std::vector<unsigned> out(96);
    RunKernel(Diverge, 1, 96, 0, out.data());
    for (unsigned i = 0; i < 96; ++i) EXPECT_EQ(out[i], (i % 32 < 16 ? 120u : 39u) + 3);
  });
}

__global__ void FoldBarriers(int* out) {
  const int all = __syncthreads_and(threadIdx.x < 63);
  const int some = __syncthreads_or(threadIdx.x == 63);
  const int none = __syncthreads_or(threadIdx.x == 64);
  const int every = __syncthreads_and(1);
  out[threadIdx.x] = all * 8 + some * 4 + none * 2 + every;
}

TEST(Functional, BarriersThatFold) {
  ForEachSeed([] {
    std::vector<int> out(64);
    RunKernel(FoldBarriers, 1, 64, 0, out.data());
    EXPECT_EQ(out, std::vector<int>(64, 5));
  });
}

// One warp hands work to another through a flag: legal, since both are resident in one block.
__global__ void HandOver(unsigned* out) {
  MR_SHARED(unsigned, flag, 1);
  if (threadIdx.x == 0) flag[0] = 0;
  __syncthreads();
  if (threadIdx.x == 32) {
    out[0] = 42;
    __threadfence();
    atomicExch(&flag[0], 1u);
  }
  if (threadIdx.x == 0) {
    while (atomicAdd(&flag[0], 0u) == 0) __nanosleep(100);
    out[1] = out[0];
  }
}

TEST(Functional, ASpinningThreadLetsOthersRun) {
  ForEachSeed([] {
    std::vector<unsigned> out(2);
    RunKernel(HandOver, 1, 64, 0, out.data());
    EXPECT_EQ(out[1], 42u);
  });
}

__global__ void Scan(int* out) {
  MR_SHARED(int2, pairs, 64);
  const int i = threadIdx.x;
  pairs[i] = make_int2(i, 1);
  for (int distance = 1; distance < 64; distance *= 2) {
    __syncthreads();
    int2 mine = pairs[i];
    if (i >= distance) {
      const int2 other = pairs[i - distance];
      mine.x += other.x;
      mine.y += other.y;
    }
    __syncthreads();
    pairs[i] = mine;
  }
  // Own element: no barrier is needed.
  const int2 sum = pairs[i];
  out[i] = sum.x * 1000 + sum.y;
}

TEST(Functional, StructsAsElements) {
  ForEachSeed([] {
    std::vector<int> out(64);
    RunKernel(Scan, 1, 64, 0, out.data());
    for (int i = 0; i < 64; ++i) EXPECT_EQ(out[i], i * (i + 1) / 2 * 1000 + i + 1);
  });
}

__global__ void WhoAmI(unsigned* out) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  atomicAdd(&out[block * blockDim.x * blockDim.y * blockDim.z + thread], thread + 1);
}

TEST(Functional, ThreeDimensions) {
  ForEachSeed([] {
    std::vector<unsigned> out(2 * 3 * 4 * 30);
    RunKernel(WhoAmI, dim3(2, 3, 4), dim3(5, 3, 2), 0, out.data());
    for (unsigned i = 0; i < out.size(); ++i) EXPECT_EQ(out[i], i % 30 + 1);
  });
}

__global__ void Order(int* next, int* order) {
  order[atomicAdd(next, 1)] = static_cast<int>(threadIdx.x);
}

// Without shuffled orders most races would never show in results.
TEST(Functional, SeedsGiveOrders) {
  const auto order = [](std::uint64_t seed) {
    Options options;
    options.seed = seed;
    options.switch_one_in = 0;
    SetOptions(options);
    std::vector<int> result(64);
    int next = 0;
    RunKernel(Order, 1, 64, 0, &next, result.data());
    SetOptions(Options{});
    return result;
  };
  std::vector<int> forward(64);
  std::iota(forward.begin(), forward.end(), 0);
  EXPECT_EQ(order(0), forward);
  EXPECT_EQ(order(1), std::vector<int>(forward.rbegin(), forward.rend()));
  EXPECT_EQ(order(5), order(5));
  EXPECT_NE(order(5), order(6));
  EXPECT_NE(order(5), forward);
}

TEST(Functional, Intrinsics) {
  EXPECT_EQ(__brev(0x80000001u), 0x80000001u);
  EXPECT_EQ(__brev(0x00000006u), 0x60000000u);
  EXPECT_EQ(__clz(0), 32);
  EXPECT_EQ(__clz(1), 31);
  EXPECT_EQ(__ffs(0), 0);
  EXPECT_EQ(__ffs(8), 4);
  EXPECT_EQ(__popc(0xf0f0u), 8);
  EXPECT_EQ(__float_as_uint(-0.0f), 0x80000000u);
  EXPECT_EQ(__double_as_longlong(1.0), 0x3ff0000000000000ll);
  EXPECT_EQ(__float2int_rz(-1.9f), -1);
  EXPECT_EQ(__float2int_rz(3e9f), 2147483647);
  EXPECT_EQ(__float2int_rz(__uint_as_float(0x7fc00000u)), 0);
  EXPECT_EQ(sizeof(float4), 16u);
  EXPECT_EQ(alignof(uint4), 16u);
  EXPECT_EQ(alignof(double2), 16u);
}

}  // namespace
}  // namespace millrace::simt
