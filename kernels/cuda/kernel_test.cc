// The forest kernel under the SIMT shim, in every shape, against the reference: equal bit by bit.
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "kernels/cuda/testing/forest_runner.h"
#include "kernels/plan/image_builder.h"
#include "kernels/simt/report.h"
#include "kernels/testing/forests.h"
#include "kernels/testing/small_trees.h"

namespace millrace::cuda {
namespace {

constexpr TreeFamily kX = TreeFamily::kXgboost;
constexpr TreeFamily kL = TreeFamily::kLightgbm;

// Shapes that differ in all that a shape decides.
std::vector<ForcedRun> Shapes() {
  std::vector<ForcedRun> runs;
  runs.push_back({.rules = {.rows = 1, .threads = 32, .warp_rank = true}});
  runs.push_back({.rules = {.rows = 1, .threads = 128}, .row_table = true});
  runs.push_back({.rules = {.rows = 2, .threads = 32, .passes = 3, .shared_bytes = false}});
  runs.push_back({.rules = {.rows = 8, .threads = 64, .passes = 2, .staged_bytes = 1024}});
  runs.push_back({.rules = {.rows = 4, .threads = 32, .staged_bytes = 256, .warp_rank = true},
                  .row_table = true});
  runs.push_back({.rules = {.rows = 32, .threads = 32, .staged_bytes = 8192}});
  runs.push_back({.rules = {.rows = 16, .threads = 64, .shared_sums = false}});
  runs.push_back({.rules = {.rows = 4, .threads = 64, .staged_bytes = 4096, .warp_rank = true},
                  .shared_limit_bytes = 3000});  // little shared memory: parts are given up
  return runs;
}

std::string Name(const ForcedRun& run) {
  const TileRules& r = run.rules;
  return "rows " + std::to_string(r.rows) + ", threads " + std::to_string(r.threads) + ", passes " +
         std::to_string(r.passes) + ", staged " + std::to_string(r.staged_bytes);
}

void ExpectEqualInAllShapes(const std::vector<std::byte>& image, const std::vector<float>& rows,
                            size_t n) {
  const PlanView plan{image.data()};
  const std::vector<std::byte> expected = ReferenceMargins(plan, rows, n);
  for (const ForcedRun& run : Shapes()) {
    EXPECT_TRUE(RunForced(plan, rows, n, run) == expected) << Name(run);
  }
}

// Seeds of the forest and of the order in which lanes run.
void ExpectEqualForSeeds(ForestSpec spec, size_t n, uint64_t seeds = 4) {
  for (uint64_t seed = 0; seed < seeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    simt::Options options;
    options.seed = seed;
    simt::SetOptions(options);
    spec.seed = seed + 1;
    ExpectEqualInAllShapes(MakeForest(spec), MakeRows(spec, n, 0.4, seed), n);
  }
}

TEST(ForestKernel, Xgboost) {
  ExpectEqualForSeeds({.features = 7, .trees = 37, .hostile = 0.3}, 37);
}

TEST(ForestKernel, XgboostSets) {
  ExpectEqualForSeeds({.features = 9, .trees = 30, .categorical = 0.7, .categories = 90}, 20);
}

TEST(ForestKernel, XgboostClasses) {
  ExpectEqualForSeeds({.features = 5, .groups = 5, .trees = 43, .depth = 7, .leaves = 10}, 20);
}

TEST(ForestKernel, XgboostVectors) {
  ExpectEqualForSeeds({.features = 5, .groups = 6, .trees = 12, .vector_leaves = true}, 20);
}

TEST(ForestKernel, Lightgbm) {
  ExpectEqualForSeeds(
      {.family = kL, .features = 7, .trees = 37, .hostile = 0.3, .mixed_missing = true}, 37);
}

TEST(ForestKernel, LightgbmSets) {
  ExpectEqualForSeeds({.family = kL, .features = 7, .trees = 30, .categorical = 0.7}, 20);
}

TEST(ForestKernel, LightgbmLinear) {
  ExpectEqualForSeeds({.family = kL,
                       .features = 7,
                       .trees = 30,
                       .depth = 6,
                       .leaves = 9,
                       .stumps = 0.1,
                       .linear = 0.6},
                      20);
}

TEST(ForestKernel, LightgbmVectors) {
  ExpectEqualForSeeds({.family = kL, .features = 3, .groups = 3, .trees = 9, .vector_leaves = true},
                      20);
}

TEST(ForestKernel, ManyEdgesMakeManyColumns) {
  ExpectEqualForSeeds({.features = 2, .trees = 300, .depth = 3, .edges = 2000}, 15, 2);
}

TEST(ForestKernel, ManyColumns) {
  ExpectEqualForSeeds({.features = 500, .trees = 80, .depth = 5, .edges = 5, .categorical = 0.4}, 9,
                      2);
}

TEST(ForestKernel, NoTreesGiveTheBases) {
  ExpectEqualForSeeds({.features = 3, .groups = 4, .trees = 0}, 9, 2);
  ExpectEqualForSeeds({.family = kL, .features = 3, .trees = 0}, 9, 2);
}

TEST(ForestKernel, TreesOfOneLeaf) {
  ExpectEqualForSeeds({.features = 3, .trees = 50, .stumps = 1.0}, 9, 2);
  ExpectEqualForSeeds({.family = kL, .features = 3, .groups = 2, .trees = 50, .stumps = 0.5}, 9, 2);
}

TEST(ForestKernel, OneRowAndManyTrees) {
  ExpectEqualForSeeds({.features = 4, .trees = 700, .depth = 2}, 1, 2);
}

TEST(ForestKernel, WideNodes) {
  // Two trees, one of them of more than 2^15 leaves.
  const ForestSpec spec = {.features = 4, .trees = 2, .depth = 16, .edges = 300, .seed = 3};
  const std::vector<std::byte> image = MakeForest(spec);
  ASSERT_TRUE(PlanView{image.data()}.wide());
  ExpectEqualInAllShapes(image, MakeRows(spec, 40, 0.3, 1), 40);
  ForestSpec lightgbm = spec;
  lightgbm.family = kL;
  ExpectEqualInAllShapes(MakeForest(lightgbm), MakeRows(lightgbm, 40, 0.3, 1), 40);
}

// Every split that matters, on every value that matters: exhaustive where forests are drawn.
TEST(ForestKernel, EveryValueOnEveryEdge) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<double> thresholds = {-kInfinity, -3.4e38, -1.0, -1e-35, -1e-45,   0.0,
                                          1e-45,      1e-35,   1.0,  3.4e38, kInfinity};
  std::vector<float> rows = {std::numeric_limits<float>::quiet_NaN(), kInfinity, -kInfinity, -0.0f,
                             -std::numeric_limits<float>::quiet_NaN()};
  for (const double threshold : thresholds) {
    const auto at = static_cast<float>(threshold);
    for (const float x : {at, std::nextafter(at, kInfinity), std::nextafter(at, -kInfinity)}) {
      rows.push_back(x);
    }
  }
  for (const TreeFamily family : {kX, kL}) {
    ImageBuilder builder;
    for (const double threshold : thresholds) {
      for (const Missing missing : {Missing::kNone, Missing::kZero, Missing::kNan}) {
        for (const bool left : {false, true}) {
          if (family == kX && missing != Missing::kNan) continue;
          const double edge = family == kX ? static_cast<float>(threshold) : threshold;
          DraftNode root = DraftNumeric(0, edge, missing, left);
          root.left = 1;
          root.right = 2;
          const double weight = 1.0 / (1.0 + static_cast<double>(builder.tree_count()));
          builder.AddTree(0, {root, DraftLeaf(static_cast<float>(weight)), DraftLeaf(-1.0)});
        }
      }
    }
    PlanTraits traits;
    traits.family = family;
    traits.features = 1;
    traits.bases = {0.125};
    std::string fault;
    const std::vector<std::byte> image = builder.Finish(traits, &fault);
    ASSERT_FALSE(image.empty()) << fault;
    ExpectEqualInAllShapes(image, rows, rows.size());
  }
}

// Staged nodes and nodes from memory; what the shapes do with rows is tried above.
TEST(ForestKernel, EverySmallTree) {
  const std::vector<float> rows = SmallTreeRows();
  const size_t n = rows.size() / 2;
  for (const TreeFamily family : {kX, kL}) {
    ForEachSmallForest(family, [&](const std::vector<std::byte>& image) {
      const PlanView plan{image.data()};
      const std::vector<std::byte> expected = ReferenceMargins(plan, rows, n);
      for (const TileRules& rules : {TileRules{.rows = 32, .threads = 256, .staged_bytes = 8192},
                                     TileRules{.rows = 2, .threads = 64}}) {
        EXPECT_TRUE(RunForced(plan, rows, n, {.rules = rules}) == expected);
      }
    });
  }
}

// A comparison of bits sees a sum in another order.
TEST(ForestKernel, SumsInAnotherOrderAreSeen) {
  for (const TreeFamily family : {kX, kL}) {
    const ForestSpec spec = {.family = family, .features = 4, .trees = 60};
    const std::vector<std::byte> image = MakeForest(spec);
    const PlanView plan{image.data()};
    const std::vector<float> rows = MakeRows(spec, 16, 0.0, 1);
    const std::vector<std::byte> expected = ReferenceMargins(plan, rows, 16);
    ForcedRun run = {.rules = {.rows = 4, .threads = 64}};
    EXPECT_TRUE(RunForced(plan, rows, 16, run) == expected);
    run.reverse_trees = true;
    EXPECT_FALSE(RunForced(plan, rows, 16, run) == expected);
    run = {.rules = {.rows = 4, .threads = 64, .fast = true}};
    EXPECT_FALSE(RunForced(plan, rows, 16, run) == expected);
  }
}

}  // namespace
}  // namespace millrace::cuda
