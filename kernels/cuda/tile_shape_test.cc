// Shapes fit the device, and chunks cover every tree once, whatever is asked for.
#include "kernels/cuda/tile_shape.h"

#include <gtest/gtest.h>

#include <vector>

#include "kernels/testing/forests.h"

namespace millrace::cuda {
namespace {

TEST(TileShape, TheChoiceFitsEveryDevice) {
  Random random(1);
  for (int i = 0; i < 20'000; ++i) {
    const ForestFacts facts = {.features = random.Below(3000),
                               .columns = random.Below(20'000),
                               .groups = 1 + random.Below(random.Chance(0.5) ? 3 : 2000),
                               .trees = random.Below(5000),
                               .nodes = random.Below(random.Chance(0.3) ? 3000 : 1'000'000),
                               .margin_bytes = random.Chance(0.5) ? 4u : 8u,
                               .wide = random.Chance(0.1),
                               .vector_leaves = random.Chance(0.2)};
    const DeviceLimits limits = {.multiprocessors = 1 + random.Below(150),
                                 .shared_limit_bytes = (47 + random.Below(180)) * 1024};
    const uint64_t bucket = uint64_t{1} << random.Below(15);
    const TileRules rules = ChooseRules(facts, limits, bucket, random.Chance(0.3));
    TileShape shape;
    ASSERT_TRUE(FitTile(facts, rules, limits.shared_limit_bytes, &shape));
    EXPECT_LE(shape.pool_bytes, limits.shared_limit_bytes);
    EXPECT_LE(rules.rows, bucket);
    EXPECT_EQ(shape.threads % 32, 0u);
    EXPECT_EQ(shape.chunk_trees % (shape.threads >> shape.row_bits), 0u);
    // The reduction of a fast run has a place for every thread.
    EXPECT_GE(shape.chunk_trees << shape.row_bits, shape.threads);
    if (shape.staged_nodes != 0) {
      EXPECT_TRUE(shape.shared_bytes_on);
      EXPECT_FALSE(facts.wide);
    }
  }
}

// What was the best of a grid on an H100, or within a few parts in a hundred of it.
TEST(TileShape, SmallBatchesSpreadAndLargeOnesShareABlock) {
  const DeviceLimits limits = {.multiprocessors = 132, .shared_limit_bytes = 226 * 1024};
  const ForestFacts small = {
      .features = 64, .columns = 128, .groups = 1, .trees = 100, .nodes = 1600, .margin_bytes = 4};
  const ForestFacts large = {.features = 64,
                             .columns = 128,
                             .groups = 1,
                             .trees = 500,
                             .nodes = 32'000,
                             .margin_bytes = 4};
  const auto rows = [&](const ForestFacts& facts, uint64_t bucket) {
    return ChooseRules(facts, limits, bucket, false).rows;
  };
  EXPECT_EQ(rows(small, 1), 1u);
  EXPECT_EQ(rows(small, 16), 4u);  // as many walks as threads
  EXPECT_EQ(rows(small, 4096), 16u);
  EXPECT_EQ(rows(large, 1), 1u);
  EXPECT_EQ(rows(large, 64), 1u);
  EXPECT_EQ(rows(large, 256), 4u);
  EXPECT_EQ(rows(large, 1024), 4u);
  EXPECT_EQ(rows(large, 4096), 8u);
  EXPECT_EQ(ChooseRules(large, limits, 1024, false).threads, 512u);
  EXPECT_EQ(ChooseRules(large, limits, 4096, false).threads, 256u);
  EXPECT_GT(ChooseRules(small, limits, 4096, false).staged_bytes, 0u);
  EXPECT_EQ(ChooseRules(large, limits, 4096, false).staged_bytes, 0u);
}

TEST(TileShape, AWarpRanksAValueWhereThereIsOneForIt) {
  ForestFacts facts = {
      .features = 6, .columns = 64, .groups = 1, .trees = 300, .nodes = 20'000, .margin_bytes = 4};
  EXPECT_TRUE(ChooseRules(facts, {}, 1, false).warp_rank);
  facts.features = 64;
  EXPECT_FALSE(ChooseRules(facts, {}, 1, false).warp_rank);
}

TEST(TileShape, FastIsOnlyForOneSum) {
  ForestFacts facts = {.features = 4, .columns = 4, .groups = 2, .trees = 5, .margin_bytes = 4};
  EXPECT_FALSE(ChooseRules(facts, {}, 1, true).fast);
  facts.groups = 1;
  EXPECT_TRUE(ChooseRules(facts, {}, 1, true).fast);
  facts.vector_leaves = true;
  EXPECT_FALSE(ChooseRules(facts, {}, 1, true).fast);
}

TEST(TileShape, ChunksCoverTheTreesInOrder) {
  Random random(2);
  for (int i = 0; i < 3000; ++i) {
    std::vector<DeviceTree> trees;
    std::vector<uint32_t> groups;
    uint32_t node = 0;
    const uint32_t count = random.Below(200);
    for (uint32_t t = 0; t < count; ++t) {
      const uint32_t nodes = random.Chance(0.1) ? random.Below(3000) : random.Below(64);
      trees.push_back({node, nodes, 0, kNoLinear});
      node += (nodes + 1) / 2 * 2;
      groups.push_back(t == 0 ? 0 : groups.back() + (random.Chance(0.1) ? 1 + random.Below(3) : 0));
    }
    TileShape shape = {};
    shape.row_bits = random.Below(6);
    shape.threads = 32u << random.Below(5);
    shape.chunk_trees = (shape.threads >> shape.row_bits) * (1 + random.Below(3));
    shape.staged_nodes = random.Chance(0.3) ? 0 : 2 * random.Below(1000);
    const ChunkLists lists = MakeChunks(trees, groups, false, shape);
    uint32_t next = 0;
    for (const DeviceChunk& chunk : lists.chunks) {
      ASSERT_EQ(chunk.first_tree, next);
      ASSERT_GT(chunk.tree_count, 0u);
      ASSERT_LE(chunk.tree_count, shape.chunk_trees);
      ASSERT_LE(chunk.node_count, shape.staged_nodes);
      uint32_t slot = 0;
      for (uint32_t s = 0; s < chunk.segment_count; ++s) {
        const DeviceSegment& segment = lists.segments[chunk.first_segment + s];
        ASSERT_EQ(segment.begin, slot);
        ASSERT_LT(segment.begin, segment.end);
        for (; slot < segment.end; ++slot) ASSERT_EQ(groups[next + slot], segment.group);
      }
      ASSERT_EQ(slot, chunk.tree_count);
      for (uint32_t t = next; t < next + chunk.tree_count && chunk.node_count != 0; ++t) {
        ASSERT_GE(trees[t].first_node, chunk.first_node);
        ASSERT_LE(trees[t].first_node + trees[t].node_count, chunk.first_node + chunk.node_count);
      }
      next += chunk.tree_count;
    }
    ASSERT_EQ(next, count);
    EXPECT_TRUE(MakeChunks(trees, groups, true, shape).segments.empty());
  }
}

}  // namespace
}  // namespace millrace::cuda
