#include "services/runtime/turn_clock.h"

#include "gtest/gtest.h"

namespace millrace {
namespace {

constexpr int64_t kMs = kNanosPerMilli, kS = kNanosPerSecond;

TEST(TurnClock, IsTheLongestTurn) {
  TurnClock turns;
  int64_t now = 100 * kS;
  EXPECT_FALSE(turns.Turned(now)) << "one look is no turn";
  EXPECT_TRUE(turns.Turned(now += 5 * kMs));
  EXPECT_EQ(turns.worst_ns(), 5 * kMs);
  EXPECT_FALSE(turns.Turned(now += 4 * kMs));
  EXPECT_TRUE(turns.Turned(now += 6 * kMs));
  EXPECT_EQ(turns.worst_ns(), 6 * kMs);
}

TEST(TurnClock, SleepIsNoStall) {
  TurnClock turns;
  int64_t now = 100 * kS;
  turns.Turned(now);
  turns.Slept();
  turns.Turned(now += 50 * kMs);
  EXPECT_EQ(turns.worst_ns(), 0);
  turns.Turned(now += 2 * kMs);
  EXPECT_EQ(turns.worst_ns(), 2 * kMs);
}

TEST(TurnClock, AStallIsSeenForTenSecondsAtLeastAndForgottenByTwenty) {
  for (int64_t at = 0; at < 10 * kS; at += 700 * kMs) {
    TurnClock turns;
    int64_t now = 100 * kS;
    const auto idle = [&](int64_t until) {
      for (; now < until; now += 50 * kMs) {
        turns.Slept();
        turns.Turned(now);
      }
    };
    idle(100 * kS + at);
    turns.Turned(now);
    turns.Turned(now += 300 * kMs);
    const int64_t stall = now;
    ASSERT_EQ(turns.worst_ns(), 300 * kMs);
    idle(stall + 10 * kS - 200 * kMs);
    EXPECT_EQ(turns.worst_ns(), 300 * kMs) << at;
    idle(stall + 20 * kS + 200 * kMs);
    EXPECT_EQ(turns.worst_ns(), 0) << at;
  }
}

TEST(TurnClock, AfterALongSilenceNothingOldIsShown) {
  TurnClock turns;
  turns.Turned(100 * kS);
  turns.Turned(100 * kS + 40 * kMs);
  turns.Slept();
  turns.Turned(900 * kS);
  EXPECT_EQ(turns.worst_ns(), 0);
}

}  // namespace
}  // namespace millrace
