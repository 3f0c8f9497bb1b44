#include "tools/load/arrivals.h"

#include <cmath>

#include "gtest/gtest.h"

namespace millrace {
namespace {

TEST(ArrivalsTest, ConstantHasOneGapAndNoDrift) {
  Arrivals arrivals(ArrivalKind::kConstant, 3, 100, 1);
  EXPECT_EQ(arrivals.next_ns(), 100 + 333'333'333);
  for (int i = 1; i < 3'000'000; ++i) arrivals.Advance();
  EXPECT_EQ(arrivals.next_ns(), 100 + int64_t{1'000'000} * 1'000'000'000);
}

// Mean and deviation of exponential gaps are both 1/rate; the share above the mean is 1/e. A
// constant clock, or a uniform one, fails the second and the third.
TEST(ArrivalsTest, PoissonGapsAreExponential) {
  Arrivals arrivals(ArrivalKind::kPoisson, 1000, 0, 42);
  constexpr int kGaps = 200'000;
  double sum = 0, squares = 0;
  int above = 0;
  int64_t last_ns = 0;
  for (int i = 0; i < kGaps; ++i) {
    const auto gap_ns = static_cast<double>(arrivals.next_ns() - last_ns);
    ASSERT_GE(gap_ns, 0);
    last_ns = arrivals.next_ns();
    sum += gap_ns;
    squares += gap_ns * gap_ns;
    above += gap_ns > 1e6;
    arrivals.Advance();
  }
  const double mean = sum / kGaps;
  EXPECT_NEAR(mean, 1e6, 1e4);
  EXPECT_NEAR(std::sqrt(squares / kGaps - mean * mean), 1e6, 2e4);
  EXPECT_NEAR(static_cast<double>(above) / kGaps, std::exp(-1), 0.01);
}

TEST(ArrivalsTest, TheSeedDecides) {
  Arrivals a(ArrivalKind::kPoisson, 10, 5, 1), b(ArrivalKind::kPoisson, 10, 5, 1),
      c(ArrivalKind::kPoisson, 10, 5, 2);
  EXPECT_NE(a.next_ns(), c.next_ns());
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(a.next_ns(), b.next_ns());
    a.Advance();
    b.Advance();
  }
}

}  // namespace
}  // namespace millrace
