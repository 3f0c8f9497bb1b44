#include "common/near.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace millrace {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

TEST(NearTest, TheToleranceIsRelativeToTheLarger) {
  EXPECT_TRUE(Near(1000, 1009.9, 0.01));
  EXPECT_TRUE(Near(1009.9, 1000, 0.01));
  EXPECT_FALSE(Near(1000, 1010.2, 0.01));
  EXPECT_TRUE(Near(-1e-9, -1.009e-9, 0.01));
  EXPECT_FALSE(Near(1e-9, 2e-9, 0.01)) << "however small both are";
  EXPECT_FALSE(Near(1e-9, -1e-9, 0.5));
}

TEST(NearTest, WithoutAToleranceTheyMustBeEqual) {
  EXPECT_TRUE(Near(0.1, 0.1, 0));
  EXPECT_TRUE(Near(0.0, -0.0, 0));
  EXPECT_FALSE(Near(0.1, std::nextafter(0.1, 1), 0));
}

TEST(NearTest, NanIsNansEqualAlone) {
  EXPECT_TRUE(Near(NAN, NAN, 0));
  EXPECT_FALSE(Near(NAN, 1, 0.9));
  EXPECT_FALSE(Near(1, NAN, 0.9));
}

TEST(NearTest, AnInfinityIsItsOwnEqual) {
  EXPECT_TRUE(Near(kInf, kInf, 0));
  EXPECT_FALSE(Near(kInf, -kInf, 0.9));
  EXPECT_FALSE(Near(kInf, 1e300, 0.9)) << "any tolerance of it is endless";
}

TEST(NearTest, ElementsAreTakenByTheirSize) {
  const float singles[] = {1.5f, 2.5f};
  const double doubles[] = {3.5, 4.5};
  const std::string a(reinterpret_cast<const char*>(singles), sizeof singles);
  const std::string b(reinterpret_cast<const char*>(doubles), sizeof doubles);
  EXPECT_EQ(FloatAt(a, DataType::kFp32, 1), 2.5);
  EXPECT_EQ(FloatAt(b, DataType::kFp64, 1), 4.5);
  EXPECT_TRUE(IsFloat(DataType::kFp32) && IsFloat(DataType::kFp64));
  EXPECT_FALSE(IsFloat(DataType::kInt64) || IsFloat(DataType::kBytes));
}

}  // namespace
}  // namespace millrace
