#include "tools/load/histogram.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "gtest/gtest.h"

namespace millrace {
namespace {

TEST(HistogramTest, NothingHasNoPercentile) {
  const Histogram none;
  EXPECT_EQ(none.PercentileNs(0.5), 0);
  EXPECT_EQ(none.mean_ns(), 0);
  EXPECT_EQ(none.min_ns(), 0);
  EXPECT_EQ(none.max_ns(), 0);
}

TEST(HistogramTest, SmallValuesAreExactNearestRanks) {
  Histogram ten;
  for (int64_t i = 1; i <= 10; ++i) ten.Add(i);
  EXPECT_EQ(ten.PercentileNs(0), 1);
  EXPECT_EQ(ten.PercentileNs(0.5), 5);
  EXPECT_EQ(ten.PercentileNs(0.9), 9);
  EXPECT_EQ(ten.PercentileNs(0.91), 10);
  EXPECT_EQ(ten.PercentileNs(1), 10);
  EXPECT_EQ(ten.mean_ns(), 5.5);
  EXPECT_EQ(ten.min_ns(), 1);
}

// Beside the exact percentiles of the sorted values, over eight powers of ten.
TEST(HistogramTest, APercentileIsLessThanOneIn256AboveTheTrueOne) {
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> exponent(0, 12.5);
  std::vector<int64_t> values;
  Histogram histogram;
  for (int i = 0; i < 20'000; ++i) {
    values.push_back(static_cast<int64_t>(std::pow(10.0, exponent(random))));
    histogram.Add(values.back());
  }
  std::sort(values.begin(), values.end());
  for (const double q : {0.0, 0.001, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999, 0.9999, 1.0}) {
    const auto rank = std::max<size_t>(1, static_cast<size_t>(std::ceil(q * 20'000 - 1e-6)));
    const auto truth = static_cast<double>(values[rank - 1]);
    const auto told = static_cast<double>(histogram.PercentileNs(q));
    EXPECT_GE(told, truth) << q;
    EXPECT_LE(told, truth * (1 + 1.0 / 256)) << q;
  }
  EXPECT_EQ(histogram.max_ns(), values.back());
  EXPECT_EQ(histogram.PercentileNs(1), values.back());
}

TEST(HistogramTest, ValuesOutOfRangeCountAtItsEnds) {
  Histogram histogram;
  histogram.Add(-5);
  histogram.Add(INT64_MAX);
  EXPECT_EQ(histogram.min_ns(), 0);
  EXPECT_EQ(histogram.max_ns(), (int64_t{1} << 42) - 1);
  EXPECT_EQ(histogram.PercentileNs(1), (int64_t{1} << 42) - 1);
  EXPECT_EQ(histogram.count(), 2);
}

}  // namespace
}  // namespace millrace
