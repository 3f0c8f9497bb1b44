#include "tools/bench/ipc_bench/stats.h"

#include <numeric>

#include "gtest/gtest.h"

namespace millrace::bench {
namespace {

std::vector<double> OneTo(int n) {
  std::vector<double> values(static_cast<size_t>(n));
  std::iota(values.rbegin(), values.rend(), 1.0);  // n, n - 1, ... 1
  return values;
}

TEST(StatsTest, PercentileIsTheNearestRank) {
  EXPECT_EQ(Percentile({}, 0.5), 0);
  EXPECT_EQ(Percentile({7}, 0.999), 7);
  EXPECT_EQ(Percentile(OneTo(100), 0.5), 50);
  EXPECT_EQ(Percentile(OneTo(100), 0.99), 99);
  EXPECT_EQ(Percentile(OneTo(101), 0.5), 51);
  EXPECT_EQ(Percentile(OneTo(1000), 0.999), 999);
  EXPECT_EQ(Percentile(OneTo(10), 0.999), 10);
  EXPECT_EQ(Percentile(OneTo(10), 0), 1);
  EXPECT_EQ(Percentile(OneTo(10), 1), 10);
}

TEST(StatsTest, MedianOfOddEvenAndNone) {
  EXPECT_EQ(Median({}), 0);
  EXPECT_EQ(Median({3}), 3);
  EXPECT_EQ(Median({9, 1, 5}), 5);
  EXPECT_EQ(Median({4, 1, 3, 2}), 2);
}

TEST(StatsTest, PercentilesOfARun) {
  const Percentiles p = PercentilesOf(OneTo(10'000));
  EXPECT_EQ(p.p50, 5'000);
  EXPECT_EQ(p.p99, 9'900);
  EXPECT_EQ(p.p999, 9'990);
}

TEST(StatsTest, ProbesAgreeWithinTheTolerance) {
  EXPECT_TRUE(IsSteady(50, 50));
  EXPECT_TRUE(IsSteady(50, 57));
  EXPECT_TRUE(IsSteady(57, 50));
  EXPECT_FALSE(IsSteady(50, 58));
  EXPECT_FALSE(IsSteady(58, 50));
  EXPECT_FALSE(IsSteady(50, 250));
  EXPECT_TRUE(IsSteady(50, 100, 1));
  EXPECT_FALSE(IsSteady(0, 0));  // a probe that measured nothing proves nothing
}

struct Probed {
  double floor_before = 0, floor_after = 0;
};

TEST(StatsTest, AnUnsteadyRunIsDroppedAndRepeated) {
  const std::vector<std::optional<Probed>> runs = {Probed{50, 250}, std::nullopt, Probed{250, 50},
                                                   Probed{50, 52}, Probed{50, 50}};
  size_t at = 0;
  int64_t dropped = 0;
  const auto kept = RunSteady(5, kFloorTolerance, &dropped, [&] { return runs[at++]; });
  EXPECT_EQ(kept.value_or(Probed{}).floor_after, 52);
  EXPECT_EQ(dropped, 3);
  EXPECT_EQ(at, 4u);
}

TEST(StatsTest, RepeatsAreBounded) {
  int calls = 0;
  int64_t dropped = 0;
  const auto kept = RunSteady(3, kFloorTolerance, &dropped, [&] {
    ++calls;
    return std::optional<Probed>({50, 100});
  });
  EXPECT_FALSE(kept.has_value());
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(dropped, 3);
}

}  // namespace
}  // namespace millrace::bench
