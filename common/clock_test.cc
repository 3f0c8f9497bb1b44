#include "common/clock.h"

#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace millrace {
namespace {

// Three ticks are a nanosecond. Reading the kernel's clock takes `read_ticks`.
struct FakeTime {
  static inline uint64_t ticks;
  static inline int64_t kernel_ahead_ns;  // of what the ticks say
  static inline uint64_t read_ticks;
  static inline uint64_t ticks_per_ns;
  static inline bool counts;
  static inline int readings;

  static uint64_t Ticks() { return ticks; }
  static int64_t KernelNs() {
    ++readings;
    ticks += read_ticks;
    return static_cast<int64_t>(ticks / ticks_per_ns) + kernel_ahead_ns;
  }
  static bool KernelCounts() { return counts; }
};
using Clock = BasicThreadClock<FakeTime>;

class ClockTest : public ::testing::Test {
 protected:
  ClockTest() {
    FakeTime::ticks = 7'000'000'000;
    FakeTime::kernel_ahead_ns = 1'000'000'000;
    FakeTime::read_ticks = 60;
    FakeTime::ticks_per_ns = 3;
    FakeTime::counts = true;
    FakeTime::readings = 0;
  }
  static void Pass(int64_t ns) {
    FakeTime::ticks += static_cast<uint64_t>(ns) * FakeTime::ticks_per_ns;
  }
  static int64_t TrueNs() {
    return static_cast<int64_t>(FakeTime::ticks / FakeTime::ticks_per_ns) +
           FakeTime::kernel_ahead_ns;
  }
  void Learn() {
    clock_.NowNs();
    Pass(Clock::kLearnNs);
    clock_.NowNs();
    FakeTime::readings = 0;
  }
  Clock clock_;
};

TEST_F(ClockTest, BeforeItHasLearnedEachCallReadsTheKernels) {
  for (int i = 1; i <= 5; ++i) {
    const int64_t now_ns = clock_.NowNs();
    EXPECT_EQ(now_ns, TrueNs());
    EXPECT_EQ(FakeTime::readings, i);
    Pass(Clock::kLearnNs / 10);
  }
}

TEST_F(ClockTest, ThenTheCounterSaysHowLongAgoTheLastReadingWas) {
  Learn();
  for (int i = 0; i < 49; ++i) {
    Pass(Clock::kTrustNs / 50);
    EXPECT_NEAR(clock_.NowNs(), TrueNs(), 20);
  }
  EXPECT_EQ(FakeTime::readings, 0);
  Pass(Clock::kTrustNs / 20);
  EXPECT_NEAR(clock_.NowNs(), TrueNs(), 20);
  EXPECT_EQ(FakeTime::readings, 1);
}

TEST_F(ClockTest, WhatIsKnownOfTheRateIsKeptUpToDate) {
  Learn();
  // The kernel's clock is slewed by a thousandth: in time the rate is that.
  for (int i = 0; i < 400; ++i) {
    Pass(Clock::kTrustNs);
    FakeTime::kernel_ahead_ns += Clock::kTrustNs / 1000;
    clock_.NowNs();
  }
  Pass(Clock::kTrustNs - 1000);
  const int64_t slewed_ns = Clock::kTrustNs / 1000;
  EXPECT_NEAR(clock_.NowNs(), TrueNs() + slewed_ns, 25);
}

TEST_F(ClockTest, WhereTheKernelDoesNotCountItIsAskedEachTime) {
  FakeTime::counts = false;
  Learn();
  for (int i = 1; i <= 5; ++i) {
    Pass(Clock::kTrustNs / 10);
    const int64_t now_ns = clock_.NowNs();
    EXPECT_EQ(now_ns, TrueNs());
    EXPECT_EQ(FakeTime::readings, i);
  }
}

TEST_F(ClockTest, ItDoesNotGoBackWhereItWasAheadAndIsRightAgainSoon) {
  Learn();
  Pass(Clock::kTrustNs - 100);
  int64_t before_ns = clock_.NowNs();
  FakeTime::kernel_ahead_ns -= 200;
  bool right = false;
  for (int i = 0; i < 200'000 && !right; ++i) {
    Pass(50);
    const int64_t now_ns = clock_.NowNs();
    ASSERT_GE(now_ns, before_ns);
    before_ns = now_ns;
    right = now_ns - TrueNs() < 25;
  }
  EXPECT_TRUE(right);
}

TEST_F(ClockTest, AReadingThatWasInterruptedIsNoneToGoOnFrom) {
  Learn();
  Pass(Clock::kTrustNs);
  FakeTime::read_ticks = Clock::kMostPairTicks;
  for (int i = 0; i < 2; ++i) {
    const int64_t now_ns = clock_.NowNs();
    EXPECT_EQ(now_ns, TrueNs());
  }
  EXPECT_EQ(FakeTime::readings, 2) << "each is a reading until one is whole";
  FakeTime::read_ticks = 60;
  clock_.NowNs();
  clock_.NowNs();
  EXPECT_EQ(FakeTime::readings, 3);
}

TEST_F(ClockTest, ACounterThatWentBackIsNotBelieved) {
  Learn();
  FakeTime::ticks -= 3'000'000'000;
  FakeTime::kernel_ahead_ns += 1'000'000'000;
  // What was said before may have been as late as that.
  for (int i = 0; i < 3; ++i) {
    EXPECT_NEAR(clock_.NowNs(), TrueNs(), Clock::kTrustNs);
    Pass(Clock::kTrustNs / 2);
  }
}

TEST_F(ClockTest, AfterASleepOfTheMachineTheRateIsLearnedAnew) {
  Learn();
  // The counter went on for a minute, the clock did not.
  FakeTime::ticks += 60 * 3'000'000'000ull;
  FakeTime::kernel_ahead_ns -= 60 * kNanosPerSecond;
  Pass(Clock::kLearnNs);
  for (int i = 1; i <= 5; ++i) {
    EXPECT_NEAR(clock_.NowNs(), TrueNs(), 20);
    EXPECT_EQ(FakeTime::readings, i);
    Pass(Clock::kTrustNs / 10);
  }
  Pass(Clock::kLearnNs);
  clock_.NowNs();
  Pass(Clock::kTrustNs / 10);
  EXPECT_NEAR(clock_.NowNs(), TrueNs(), 20);
  EXPECT_EQ(FakeTime::readings, 6);
}

TEST(MachineClockTest, EveryThreadsTimeIsTheKernels) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      int64_t before_ns = 0;
      for (int i = 0; i < 300'000; ++i) {
        const int64_t earlier_ns = MachineTime::KernelNs();
        const int64_t now_ns = MonotonicNanos();
        const int64_t later_ns = MachineTime::KernelNs();
        ASSERT_GE(now_ns, before_ns);
        ASSERT_GE(now_ns, earlier_ns - kNanosPerMicro);
        ASSERT_LE(now_ns, later_ns + kNanosPerMicro);
        before_ns = now_ns;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace millrace
