#include "tools/bench/subjects/rounds.h"

#include "gtest/gtest.h"

namespace millrace {
namespace {

TEST(RoundsTest, MedianOfOddEvenAndNone) {
  EXPECT_EQ(Median({}), 0);
  EXPECT_EQ(Median({3}), 3);
  EXPECT_EQ(Median({9, 1, 5}), 5);
  EXPECT_EQ(Median({4, 1, 3, 2}), 2);
}

TEST(RoundsTest, SubjectsTakeTurnsAndFiguresAreMedians) {
  std::string order;
  int round = 0;
  const auto subject = [&](const char* name, int64_t first_us) {
    return Subject{name, [&order, &round, name, first_us] {
                     order += name;
                     LoadReport report;
                     // One slow round in three: the median does not see it.
                     const int64_t us = round == 2 ? 1000 * first_us : first_us;
                     report.latencies_ns = {us * 1000, us * 1000, us * 5000};
                     report.answered = 3;
                     report.seconds = 1e-6 * static_cast<double>(us);
                     report.failed = report.mismatched = 1;
                     if (order.size() % 2 == 0) ++round;
                     return report;
                   }};
  };
  const auto figures = RunRounds({subject("a", 10), subject("b", 20)}, 3);
  EXPECT_EQ(order, "abbaab");
  ASSERT_EQ(figures.size(), 2u);
  EXPECT_EQ(figures[0].subject, "a");
  EXPECT_EQ(figures[0].p50_us, 10);
  EXPECT_EQ(figures[0].p99_us, 50);
  EXPECT_NEAR(figures[0].requests_per_s, 300'000, 1);
  EXPECT_EQ(figures[0].failed, 6);
  EXPECT_EQ(figures[1].p50_us, 20);
}

}  // namespace
}  // namespace millrace
