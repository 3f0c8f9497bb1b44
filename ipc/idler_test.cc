#include "ipc/idler.h"

#include "gtest/gtest.h"

namespace millrace {
namespace {

// A clock that goes on by itself: a little for each look, more for each yield.
struct FakeIdling {
  static inline int64_t now_ns = 0;
  static inline int64_t yield_ns = 1 * kNanosPerMicro;
  static inline int pauses = 0, yields = 0;

  static int64_t NowNs() { return now_ns; }
  static void Pause() {
    ++pauses;
    now_ns += 25;
  }
  static void Yield() {
    ++yields;
    now_ns += yield_ns;
  }
};
using TestIdler = BasicIdler<FakeIdling>;

class IdlerTest : public ::testing::Test {
 protected:
  IdlerTest() {
    FakeIdling::now_ns = 0;
    FakeIdling::yield_ns = 1 * kNanosPerMicro;
    FakeIdling::pauses = FakeIdling::yields = 0;
  }
  // Turns that do nothing until the idler parks.
  int TurnsUntilPark(WaitMode mode) {
    int turns = 1;
    while (!idler_.ShouldPark(mode)) ++turns;
    return turns;
  }
  TestIdler idler_;
};

TEST_F(IdlerTest, ParkIsAtOnce) {
  EXPECT_EQ(TurnsUntilPark(WaitMode::kPark), 1);
  EXPECT_EQ(FakeIdling::pauses + FakeIdling::yields, 0);
}

TEST_F(IdlerTest, SpinPausesOnceATurnForItsBudget) {
  const int turns = TurnsUntilPark(WaitMode::kSpin);
  EXPECT_EQ(FakeIdling::pauses, turns);
  EXPECT_EQ(FakeIdling::yields, 0);
  EXPECT_GE(FakeIdling::now_ns, TestIdler::kSpinNs);
  EXPECT_LE(FakeIdling::now_ns, TestIdler::kSpinNs + 25 * TestIdler::kSpinsPerLook);
}

TEST_F(IdlerTest, YieldGivesTheCoreAwayForItsBudget) {
  const int turns = TurnsUntilPark(WaitMode::kYield);
  EXPECT_EQ(FakeIdling::yields, turns - 1);
  EXPECT_EQ(FakeIdling::now_ns, TestIdler::kYieldNs);
  EXPECT_EQ(idler_.hogs(), 0u);
}

TEST_F(IdlerTest, OnlyWorkOpensANewBudget) {
  TurnsUntilPark(WaitMode::kYield);
  EXPECT_EQ(TurnsUntilPark(WaitMode::kYield), 1);
  idler_.Worked();
  EXPECT_GT(TurnsUntilPark(WaitMode::kYield), 1);
}

TEST_F(IdlerTest, ALongYieldMakesTheNextWaitsPark) {
  FakeIdling::yield_ns = TestIdler::kHogNs;
  EXPECT_EQ(TurnsUntilPark(WaitMode::kYield), 2);
  EXPECT_EQ(idler_.hogs(), 1u);
  for (int wait = 0; wait < TestIdler::kHogWaits; ++wait) {
    idler_.Worked();
    EXPECT_EQ(TurnsUntilPark(WaitMode::kYield), 1) << wait;
  }
  EXPECT_EQ(FakeIdling::yields, 1);
}

TEST_F(IdlerTest, WhoMeetsAHogAgainTriesHalfAsOften) {
  FakeIdling::yield_ns = TestIdler::kHogNs;
  const auto waits_between_tries = [&] {
    int waits = 0;
    for (const uint64_t before = idler_.hogs(); idler_.hogs() == before; ++waits) {
      idler_.Worked();
      TurnsUntilPark(WaitMode::kYield);
    }
    return waits - 1;
  };
  EXPECT_EQ(waits_between_tries(), 0);
  for (int expected = TestIdler::kHogWaits; expected < TestIdler::kMostHogWaits; expected *= 2) {
    EXPECT_EQ(waits_between_tries(), expected);
  }
  EXPECT_EQ(waits_between_tries(), TestIdler::kMostHogWaits);
  EXPECT_EQ(waits_between_tries(), TestIdler::kMostHogWaits);
  // A wait that yields and finds work forgets it.
  FakeIdling::yield_ns = 1 * kNanosPerMicro;
  for (int wait = 0; wait <= TestIdler::kMostHogWaits; ++wait) {
    idler_.Worked();
    idler_.ShouldPark(WaitMode::kYield);
  }
  idler_.Worked();
  FakeIdling::yield_ns = TestIdler::kHogNs;
  EXPECT_EQ(waits_between_tries(), 0);
  EXPECT_EQ(waits_between_tries(), TestIdler::kHogWaits);
}

TEST_F(IdlerTest, AYieldJustShortOfAHogIsNone) {
  FakeIdling::yield_ns = TestIdler::kHogNs - 1;
  TurnsUntilPark(WaitMode::kYield);
  EXPECT_EQ(idler_.hogs(), 0u);
}

TEST_F(IdlerTest, AChangeOfModeCountsFromTheNextWait) {
  EXPECT_FALSE(idler_.ShouldPark(WaitMode::kYield));
  EXPECT_FALSE(idler_.ShouldPark(WaitMode::kPark));
  idler_.Worked();
  EXPECT_TRUE(idler_.ShouldPark(WaitMode::kPark));
}

}  // namespace
}  // namespace millrace
