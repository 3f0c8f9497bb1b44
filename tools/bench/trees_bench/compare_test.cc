#include "tools/bench/trees_bench/compare.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace millrace::bench {
namespace {

template <typename Float>
const std::byte* Bytes(const std::vector<Float>& values) {
  return reinterpret_cast<const std::byte*>(values.data());
}

// Every bit of every element, flipped alone, is found where it is.
template <typename Float, typename Bits>
void FlipEveryBit(DataType type) {
  const std::vector<Float> wanted = {0, Float{1.5}, Float{-2.25},
                                     std::numeric_limits<Float>::quiet_NaN(),
                                     std::numeric_limits<Float>::denorm_min()};
  EXPECT_FALSE(FirstDifference(Bytes(wanted), Bytes(wanted), wanted.size(), type).has_value());
  for (size_t element = 0; element < wanted.size(); ++element) {
    for (size_t bit = 0; bit < 8 * sizeof(Float); ++bit) {
      std::vector<Float> found = wanted;
      Bits bits;
      std::memcpy(&bits, &found[element], sizeof bits);
      bits ^= Bits{1} << bit;
      std::memcpy(&found[element], &bits, sizeof bits);
      const auto difference = FirstDifference(Bytes(wanted), Bytes(found), wanted.size(), type);
      ASSERT_TRUE(difference.has_value()) << element << " " << bit;
      EXPECT_EQ(difference->element, element);
      EXPECT_NE(difference->wanted, difference->found);
    }
  }
}

TEST(FirstDifferenceTest, SeesEveryBit) {
  FlipEveryBit<float, uint32_t>(DataType::kFp32);
  FlipEveryBit<double, uint64_t>(DataType::kFp64);
}

TEST(FirstDifferenceTest, NamesTheFirstOfSeveral) {
  const std::vector<float> wanted = {1, 2, 3, 4}, found = {1, 2.5, 3.5, 4};
  const auto difference = FirstDifference(Bytes(wanted), Bytes(found), 4, DataType::kFp32);
  ASSERT_TRUE(difference.has_value());
  EXPECT_EQ(difference->element, 1u);
  EXPECT_EQ(difference->wanted, "2 (0x40000000)");
  EXPECT_EQ(difference->found, "2.5 (0x40200000)");
}

TEST(FirstDifferenceTest, LooksNoFurtherThanAsked) {
  const std::vector<double> wanted = {1, 2}, found = {1, 3};
  EXPECT_FALSE(FirstDifference(Bytes(wanted), Bytes(found), 1, DataType::kFp64).has_value());
}

TEST(UlpDistanceTest, CountsStepsAcrossZero) {
  const float tiny = std::numeric_limits<float>::denorm_min();
  EXPECT_EQ(UlpDistance(1.0f, 1.0f), 0u);
  EXPECT_EQ(UlpDistance(1.0f, std::nextafter(1.0f, 2.0f)), 1u);
  EXPECT_EQ(UlpDistance(0.0f, -0.0f), 0u);
  EXPECT_EQ(UlpDistance(tiny, -tiny), 2u);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(UlpDistance(nan, nan), 0u);
  EXPECT_EQ(UlpDistance(nan, 1.0f), std::numeric_limits<uint64_t>::max());
}

TEST(DistancesTest, RoundsADoubleTruthToFloat) {
  const std::vector<double> wanted = {0.1, 0.2, 1.0};
  const std::vector<float> found = {0.1f, std::nextafter(0.2f, 1.0f), 1.5f};
  Distances sum;
  AddDistances(Bytes(wanted), DataType::kFp64, Bytes(found), 3, &sum);
  EXPECT_EQ(sum.compared, 3u);
  EXPECT_EQ(sum.unequal, 2u);
  EXPECT_EQ(sum.max_ulp, UlpDistance(1.0f, 1.5f));
  EXPECT_EQ(sum.max_difference, 0.5);
}

TEST(DistancesTest, WidensWithoutCounting) {
  Distances sum{.compared = 3, .unequal = 1, .max_ulp = 4, .max_difference = 0.5};
  sum.Widen({.compared = 9, .unequal = 9, .max_ulp = 2, .max_difference = 0.75});
  EXPECT_EQ(sum.compared, 3u);
  EXPECT_EQ(sum.unequal, 1u);
  EXPECT_EQ(sum.max_ulp, 4u);
  EXPECT_EQ(sum.max_difference, 0.75);
}

}  // namespace
}  // namespace millrace::bench
