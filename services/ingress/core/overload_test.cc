// The policies against overload, on a clock of the test's.
#include <gtest/gtest.h>

#include "services/ingress/core/concurrency_limit.h"
#include "services/ingress/core/drain_rate.h"
#include "services/ingress/core/queue_delay.h"
#include "services/ingress/core/replay_budget.h"

namespace millrace {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr size_t kFloor = 64;
constexpr size_t kMost = 1024;

TEST(ConcurrencyLimitTest, AServerThatKeepsItsDeadlinesRefusesNobody) {
  for (const size_t in_flight : {32u, 128u, 256u, 1024u}) {
    ConcurrencyLimit limit(kFloor, kMost);
    // From an idle server to a full one: the delay rises with what is in flight.
    for (int i = 0; i < 1000; ++i) limit.Ended(kMs / 10, 1000 * kMs, 1);
    for (int i = 0; i < 10'000; ++i) {
      limit.Ended(static_cast<int64_t>(in_flight) * kMs / 4, 1000 * kMs, in_flight);
      ASSERT_GE(limit.limit(), in_flight);
    }
  }
}

// Little's law: a server of 2 ms a request with so many in flight answers after 2 ms x so many.
TEST(ConcurrencyLimitTest, ComesToRestWhereDeadlinesAreKept) {
  ConcurrencyLimit limit(kFloor, kMost);
  for (int i = 0; i < 20'000; ++i) {
    limit.Ended(static_cast<int64_t>(limit.limit()) * 2 * kMs, 500 * kMs, limit.limit());
  }
  EXPECT_GE(limit.limit(), 100u);
  EXPECT_LE(limit.limit(), 150u);
}

TEST(ConcurrencyLimitTest, StaysWithinItsBoundsAndRecovers) {
  ConcurrencyLimit limit(kFloor, kMost);
  for (int i = 0; i < 20'000; ++i) limit.Ended(900 * kMs, 1000 * kMs, kMost);
  EXPECT_EQ(limit.limit(), kFloor);
  for (int i = 0; i < 20'000; ++i) limit.Ended(200 * kMs, 1000 * kMs, 8);
  EXPECT_EQ(limit.limit(), kFloor);  // fewer than half of it were in flight
  for (int i = 0; i < 40'000; ++i) limit.Ended(200 * kMs, 1000 * kMs, limit.limit());
  EXPECT_GE(limit.limit(), kMost - 8);
  // Far from harm it does not take load to come back.
  for (int i = 0; i < 20'000; ++i) limit.Ended(900 * kMs, 1000 * kMs, kMost);
  EXPECT_EQ(limit.limit(), kFloor);
  for (int i = 0; i < 100; ++i) limit.Ended(kMs, 1000 * kMs, 1);
  EXPECT_EQ(limit.limit(), kMost);
  for (int i = 0; i < 20'000; ++i) limit.Ended(900 * kMs, 1000 * kMs, kMost);
  limit.Emptied();
  EXPECT_EQ(limit.limit(), kMost);
}

TEST(QueueDelayTest, ABurstIsNotShed) {
  QueueDelay delay;
  for (int64_t ms = 0; ms < 1000; ++ms) {
    delay.Left(ms % 90 == 0 ? 10 : 900, ms * kMs);
    ASSERT_FALSE(delay.Drop(1000)) << ms;
  }
}

TEST(QueueDelayTest, AStandingQueueIsShedOfWhatWaitedLong) {
  QueueDelay delay;
  for (int64_t ms = 0; ms < 250; ++ms) delay.Left(QueueDelay::kTarget + 1, ms * kMs);
  EXPECT_TRUE(delay.overloaded());
  EXPECT_FALSE(delay.Drop(2 * QueueDelay::kTarget));
  EXPECT_TRUE(delay.Drop(2 * QueueDelay::kTarget + 1));
  delay.Left(0, 251 * kMs);  // the queue is empty
  EXPECT_FALSE(delay.overloaded());
}

TEST(QueueDelayTest, SharesAreOfTheTimeGiven) {
  EXPECT_EQ(QueueDelay::Share(250 * kMs, 1000 * kMs), 250);
  EXPECT_EQ(QueueDelay::Share(1, 0), 1000);
}

TEST(ReplayBudgetTest, AWindowAlwaysAndATenthBeyond) {
  ReplayBudget budget(64);
  for (int i = 0; i < 64; ++i) EXPECT_TRUE(budget.Take(64));
  EXPECT_FALSE(budget.Take(640));
  EXPECT_TRUE(budget.Take(650));
  EXPECT_FALSE(budget.Take(64));
  budget.GiveBack();
  budget.GiveBack();
  EXPECT_TRUE(budget.Take(64));
}

TEST(DrainRateTest, OnlyTimesWithAQueueCount) {
  DrainRate rate;
  for (int64_t ms = 0; ms < 1000; ms += 10) {  // idle: one answer each 10 ms
    rate.Answered();
    rate.Tick(ms * kMs, false);
  }
  EXPECT_EQ(rate.DelayNs(100), 0);
  EXPECT_EQ(rate.HintMs(100), 0);
  for (int64_t ms = 1000; ms < 2000; ms += 2) {
    rate.Tick(ms * kMs, true);
    rate.Answered();
  }
  EXPECT_NEAR(static_cast<double>(rate.DelayNs(100)), 200.0 * kMs, 10.0 * kMs);
  EXPECT_NEAR(static_cast<double>(rate.HintMs(100)), 200, 10);
  EXPECT_EQ(rate.HintMs(1'000'000), DrainRate::kMostHintMs);
}

}  // namespace
}  // namespace millrace
