#include "common/time_edges.h"

#include <random>

#include "gtest/gtest.h"

namespace millrace {
namespace {

TEST(TimeEdges, GoFromAMicrosecondToMinutesAndNoBucketIsWiderThanAThird) {
  EXPECT_EQ(kTimeEdgesNs.front(), 1'000u);
  EXPECT_EQ(kTimeEdgesNs.back(), 300'000'000'000u);
  for (size_t i = 1; i < kTimeEdges; ++i) {
    EXPECT_GT(kTimeEdgesNs[i], kTimeEdgesNs[i - 1]);
    EXPECT_LE(3 * kTimeEdgesNs[i], 4 * kTimeEdgesNs[i - 1]) << i;
  }
  for (size_t i = 3; i < kSizeEdgeCount; ++i) EXPECT_LE(2 * kSizeEdges[i], 3 * kSizeEdges[i - 1]);
  EXPECT_EQ(kSizeEdges.back(), 65'536u);
}

TEST(TimeEdges, HoldWhatAnObjectiveIsSaidIn) {
  for (const uint64_t ms : {1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500}) {
    EXPECT_TRUE(IsTimeEdge(ms * 1'000'000)) << ms;
  }
  EXPECT_FALSE(IsTimeEdge(7'000'000));
}

template <typename Edges, typename Bucket>
void Holds(const Edges& edges, Bucket bucket, uint64_t value) {
  const size_t i = bucket(value);
  ASSERT_LE(i, edges.size());
  EXPECT_TRUE(i == edges.size() || value <= edges[i]) << value;
  EXPECT_TRUE(i == 0 || value > edges[i - 1]) << value;
}

TEST(TimeEdges, EveryValueFallsIntoItsBucket) {
  std::mt19937_64 random(1);
  for (const uint64_t edge : kTimeEdgesNs) {
    for (const uint64_t value : {edge - 1, edge, edge + 1}) Holds(kTimeEdgesNs, TimeBucket, value);
  }
  for (int i = 0; i < 100'000; ++i) {
    const uint64_t value = random() >> (random() % 64);
    Holds(kTimeEdgesNs, TimeBucket, value);
    Holds(kSizeEdges, SizeBucket, value);
  }
  for (const uint64_t value : {uint64_t{0}, UINT64_MAX}) Holds(kTimeEdgesNs, TimeBucket, value);
}

}  // namespace
}  // namespace millrace
