// One truth: every CPU level gives the reference's bits, for forests and rows made from seeds, and
// for every small tree there is. The device's kernels are held to the same in kernels/cuda.
#include <gtest/gtest.h>
#include <malloc.h>

#include <cstring>
#include <string>
#include <vector>

#include "kernels/cpu/cpu_kernel.h"
#include "kernels/plan/tree_plan.h"
#include "kernels/testing/forests.h"
#include "kernels/testing/small_trees.h"

namespace millrace {
namespace {

using Bytes = std::vector<std::byte>;

// Margins and predictions, rows split into pieces of the sizes given, over and over; `batch` pieces
// are run together.
struct Answer {
  Bytes margins, predictions;
  bool operator==(const Answer&) const = default;
};

Answer Ask(const KernelBackend& backend, const Bytes& image, DataType type, const void* rows,
           size_t n, const std::vector<size_t>& sizes, size_t batch) {
  const auto kernel = backend.OpenPlan(image);
  EXPECT_TRUE(kernel.ok()) << kernel.status();
  const KernelShape& shape = (*kernel)->shape();
  const size_t in = shape.features * DataTypeSize(type);
  const size_t out = shape.groups * DataTypeSize(shape.margin_type);
  const size_t predicted = shape.prediction_columns * DataTypeSize(shape.prediction_type);
  Answer answer = {Bytes(n * out, std::byte{0xAA}), Bytes(n * predicted, std::byte{0xAA})};
  std::vector<KernelPiece> pieces;
  for (size_t done = 0, turn = 0; done < n; ++turn) {
    const size_t take = std::min(sizes[turn % sizes.size()], n - done);
    pieces.push_back({.input = static_cast<const std::byte*>(rows) + done * in,
                      .rows = take,
                      .margins = answer.margins.data() + done * out,
                      .predictions = answer.predictions.data() + done * predicted});
    done += take;
  }
  alignas(64) static thread_local std::byte scratch[32 << 20];
  EXPECT_LE((*kernel)->ScratchBytes(n), sizeof scratch);
  const absl::Span<const KernelPiece> all(pieces);
  for (size_t i = 0; i < all.size(); i += batch) {
    const KernelBatch run = {type, all.subspan(i, batch), absl::MakeSpan(scratch)};
    EXPECT_TRUE((*kernel)->Run(run).ok());
  }
  return answer;
}

void ExpectAgreement(const Bytes& image, DataType type, const void* rows, size_t n,
                     const std::string& what) {
  const Answer truth = Ask(ReferenceBackend(), image, type, rows, n, {n}, 1);
  for (const cpu::Level* level : cpu::SupportedLevels()) {
    const KernelBackend& backend = CpuBackendOf(*level);
    const struct {
      std::vector<size_t> sizes;
      size_t batch;
    } splits[] = {
        {{n}, 1}, {{1}, 1}, {{1, 2, 3, 16, 17, 31, 33, 5, 64}, 1}, {{1}, 40}, {{3, 1, 70, 2}, 7}};
    for (const auto& split : splits) {
      ASSERT_TRUE(truth == Ask(backend, image, type, rows, n, split.sizes, split.batch))
          << what << ", " << level->name << ", pieces of " << split.sizes[0] << ", " << split.batch
          << " together";
    }
  }
}

void ExpectAgreement(const ForestSpec& spec, size_t n, const std::string& what) {
  const Bytes image = MakeForest(spec);
  const std::vector<float> rows = MakeRows(spec, n, 0.2, spec.seed);
  ExpectAgreement(image, DataType::kFp32, rows.data(), n, what);
  if (spec.family == TreeFamily::kXgboost) return;
  const std::vector<double> wide_rows = MakeRows64(spec, n, 0.2, spec.seed);
  ExpectAgreement(image, DataType::kFp64, wide_rows.data(), n, what + ", double rows");
}

TEST(AgreementTest, EverySeededForest) {
  for (const TreeFamily family : {TreeFamily::kXgboost, TreeFamily::kLightgbm}) {
    for (uint64_t seed = 1; seed <= 60; ++seed) {
      Random random(seed * 31 + static_cast<uint64_t>(family));
      ForestSpec spec;
      spec.family = family;
      spec.seed = seed;
      spec.features = 1 + random.Below(80);
      spec.groups = random.Chance(0.6) ? 1 : 1 + random.Below(5);
      spec.trees = random.Below(70);
      spec.depth = 1 + random.Below(9);
      spec.leaves = random.Chance(0.5) ? 0 : 2 + random.Below(300);
      spec.edges = 1 + random.Below(random.Chance(0.3) ? 3000 : 60);
      spec.hostile = random.Chance(0.5) ? 0.1 : 0;
      spec.categorical = random.Chance(0.4) ? 0.5 : 0;
      spec.categories = 1 + random.Below(200);
      spec.nan_default = random.Chance(0.7);
      spec.mixed_missing = random.Chance(0.5);
      spec.stumps = random.Chance(0.3) ? 0.3 : 0;
      spec.vector_leaves = random.Chance(0.15);
      spec.linear =
          family == TreeFamily::kLightgbm && !spec.vector_leaves && random.Chance(0.2) ? 0.5 : 0;
      ExpectAgreement(spec, 150, "seed " + std::to_string(seed));
      if (HasFatalFailure()) return;
    }
  }
}

TEST(AgreementTest, EveryEngineIsReached) {
  // One register of columns, two and four; then too many for registers. Complete trees, trees of
  // few leaves, and others.
  for (const uint32_t features : {8, 60, 120, 200, 300}) {
    for (const uint32_t edges : {5, 250, 2000}) {
      for (const uint32_t leaves : {0, 40, 64, 256}) {
        ForestSpec spec;
        spec.features = features;
        spec.trees = 70 + features % 7;
        spec.depth = leaves == 0 ? 6 : 14;
        spec.leaves = leaves;
        spec.edges = edges;
        spec.stumps = 0.1;
        const std::string what =
            std::to_string(features) + " features, " + std::to_string(leaves) + " leaves";
        ExpectAgreement(spec, 70, what);
        spec.family = TreeFamily::kLightgbm;
        spec.mixed_missing = true;
        ExpectAgreement(spec, 70, what);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(AgreementTest, WidePlans) {
  ForestSpec spec;
  spec.trees = 2;
  spec.depth = 16;
  spec.edges = 5000;
  const Bytes image = MakeForest(spec);
  ASSERT_TRUE(TreePlan::Open(image)->wide());
  ExpectAgreement(spec, 200, "wide");
  spec.family = TreeFamily::kLightgbm;
  ExpectAgreement(spec, 200, "wide");
}

TEST(AgreementTest, EverySmallTree) {
  for (const TreeFamily family : {TreeFamily::kXgboost, TreeFamily::kLightgbm}) {
    const std::vector<float> rows = SmallTreeRows();
    size_t forests = 0;
    ForEachSmallForest(family, [&](const Bytes& image) {
      ++forests;
      ExpectAgreement(image, DataType::kFp32, rows.data(), rows.size() / 2, "small trees");
    });
    EXPECT_GE(forests, family == TreeFamily::kXgboost ? 1u : 6u);
  }
}

// What nobody asked for is not written.
TEST(AgreementTest, OutputsMayBeLeftOut) {
  ForestSpec spec;
  const Bytes image = MakeForest(spec);
  const std::vector<float> rows = MakeRows(spec, 100, 0.1, 1);
  const auto kernel = CpuBackend().OpenPlan(image);
  ASSERT_TRUE(kernel.ok());
  std::vector<std::byte> room((*kernel)->ScratchBytes(100) + 64);
  const size_t skip = (64 - reinterpret_cast<uintptr_t>(room.data()) % 64) % 64;
  std::vector<float> margins(100), predictions(100);
  for (const bool with_margins : {true, false}) {
    const KernelPiece piece = {.input = rows.data(),
                               .rows = 100,
                               .margins = with_margins ? margins.data() : nullptr,
                               .predictions = with_margins ? nullptr : predictions.data()};
    ASSERT_TRUE(
        (*kernel)->Run({DataType::kFp32, {&piece, 1}, absl::MakeSpan(room).subspan(skip)}).ok());
  }
  EXPECT_EQ(margins, predictions);  // the transform is the identity
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
size_t HeapBytes() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

// What is told of a plan before it is served is what the process that serves it then has.
TEST(AgreementTest, PrivateBytesAreWhatTheHeapGrowsBy) {
  size_t trees = 1;
  for (const uint32_t depth : {2, 5, 8}) {
    ForestSpec spec;
    spec.trees = trees *= 8;
    spec.depth = depth;
    const Bytes image = MakeForest(spec);
    const size_t told = CpuPrivateBytes(*TreePlan::Open(image));
    const size_t before = HeapBytes();
    const auto kernel = CpuBackend().OpenPlan(image);
    ASSERT_TRUE(kernel.ok());
    const std::vector<std::byte> scratch((*kernel)->ScratchBytes(64));
    const size_t grown = HeapBytes() - before;
    EXPECT_GE(grown + 1024, told) << trees;
    EXPECT_LE(grown, told + told / 20 + 4096) << trees;
  }
}
#endif

}  // namespace
}  // namespace millrace
