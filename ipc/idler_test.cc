#include "ipc/idler.h"

#include <algorithm>

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
  // A wait whose yield meets a hog, which is not the end of yielding.
  void MeetHog() {
    FakeIdling::yield_ns = TestIdler::kHogNs;
    idler_.Worked();
    EXPECT_EQ(TurnsUntilPark(WaitMode::kYield), 2);
    FakeIdling::yield_ns = 1 * kNanosPerMicro;
  }
  // Meets another hog at the next try; how long every wait parks then.
  int64_t BanAfterHog() {
    FakeIdling::yield_ns = TestIdler::kHogNs;
    idler_.Worked();
    EXPECT_EQ(TurnsUntilPark(WaitMode::kYield), 2);
    FakeIdling::yield_ns = 1 * kNanosPerMicro;
    const int64_t hog_ns = FakeIdling::now_ns;
    for (idler_.Worked(); idler_.ShouldPark(WaitMode::kYield); idler_.Worked()) {
      FakeIdling::now_ns += kNanosPerMilli;
    }
    FakeIdling::yields = 0;
    return FakeIdling::now_ns - FakeIdling::yield_ns - hog_ns;
  }
  // Waits that yield for so long together and find work each time.
  void YieldFor(int64_t ns) {
    for (; ns > 0; ns -= FakeIdling::yield_ns) {
      idler_.Worked();
      EXPECT_FALSE(idler_.ShouldPark(WaitMode::kYield));
    }
  }
  // How long the next wait yields.
  int64_t BudgetAfterWork() {
    idler_.Worked();
    const int64_t begun_ns = FakeIdling::now_ns;
    TurnsUntilPark(WaitMode::kYield);
    return FakeIdling::now_ns - begun_ns;
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

// Work that came just after the park: a longer budget would have met it.
TEST_F(IdlerTest, WorkSoonAfterAParkMakesTheNextBudgetLonger) {
  TurnsUntilPark(WaitMode::kYield);
  FakeIdling::now_ns += TestIdler::kMostYieldNs - TestIdler::kYieldNs - 1;
  EXPECT_EQ(BudgetAfterWork(), TestIdler::kMostYieldNs);
  // Once more, when that was too short as well: it is no round trip of ours.
  EXPECT_EQ(BudgetAfterWork(), TestIdler::kYieldNs);
}

TEST_F(IdlerTest, AParkThatLastedMakesTheNextBudgetNoLonger) {
  TurnsUntilPark(WaitMode::kYield);
  FakeIdling::now_ns += TestIdler::kMostYieldNs - TestIdler::kYieldNs;
  EXPECT_EQ(BudgetAfterWork(), TestIdler::kYieldNs);
}

TEST_F(IdlerTest, ALongerBudgetStaysWhileItIsNeeded) {
  TurnsUntilPark(WaitMode::kYield);
  // Work after so many yields of a wait, and what the next wait would have at most.
  const auto wait = [&](int yields) {
    idler_.Worked();
    for (int i = 0; i < yields; ++i) ASSERT_FALSE(idler_.ShouldPark(WaitMode::kYield)) << i;
  };
  wait(150);
  wait(299);
  wait(100);
  EXPECT_EQ(BudgetAfterWork(), TestIdler::kMostYieldNs);
  TurnsUntilPark(WaitMode::kYield);
  idler_.Worked();
  TurnsUntilPark(WaitMode::kYield);
  wait(99);
  EXPECT_EQ(BudgetAfterWork(), TestIdler::kYieldNs);
}

TEST_F(IdlerTest, AWaitThatDidNotBeginWithYieldsSaysNothing) {
  for (const WaitMode mode : {WaitMode::kPark, WaitMode::kSpin}) {
    idler_ = TestIdler();
    TurnsUntilPark(mode);
    FakeIdling::now_ns += TestIdler::kYieldNs;
    EXPECT_EQ(BudgetAfterWork(), TestIdler::kYieldNs);
  }
}

TEST_F(IdlerTest, ASecondLongYieldMakesTheNextWaitsPark) {
  MeetHog();
  MeetHog();
  FakeIdling::yield_ns = TestIdler::kHogNs;
  EXPECT_EQ(idler_.hogs(), 2u);
  const int64_t ban_end_ns = FakeIdling::now_ns + TestIdler::kFirstBanNs;
  for (; FakeIdling::now_ns < ban_end_ns; FakeIdling::now_ns += TestIdler::kFirstBanNs / 4) {
    idler_.Worked();
    EXPECT_EQ(TurnsUntilPark(WaitMode::kYield), 1) << FakeIdling::now_ns;
  }
  EXPECT_EQ(FakeIdling::yields, 2);
  idler_.Worked();
  EXPECT_EQ(TurnsUntilPark(WaitMode::kYield), 2);
  EXPECT_EQ(FakeIdling::yields, 3);
}

TEST_F(IdlerTest, AHogNowAndThenIsAnAccident) {
  for (int i = 0; i < 100; ++i) {
    MeetHog();
    YieldFor(TestIdler::kFirstBanNs);
  }
  EXPECT_EQ(idler_.hogs(), 100u);
}

TEST_F(IdlerTest, WhoMeetsAHogAgainTriesHalfAsOften) {
  int64_t expected_ns = TestIdler::kFirstBanNs;
  MeetHog();
  for (int hog = 0; hog < 12; ++hog) {
    EXPECT_EQ(BanAfterHog(), expected_ns) << hog;
    expected_ns = std::min(2 * expected_ns, TestIdler::kMostBanNs);
  }
  EXPECT_EQ(expected_ns, TestIdler::kMostBanNs);
}

TEST_F(IdlerTest, OnlyManyYieldsThatMetNobodyForgetAHog) {
  MeetHog();
  EXPECT_EQ(BanAfterHog(), TestIdler::kFirstBanNs);
  EXPECT_EQ(BanAfterHog(), 2 * TestIdler::kFirstBanNs);
  YieldFor(2 * TestIdler::kFirstBanNs - 2 * kNanosPerMicro);  // BanAfterHog ended with one more
  EXPECT_EQ(BanAfterHog(), 4 * TestIdler::kFirstBanNs);
  // Idle time is no proof, however long.
  FakeIdling::now_ns += 100 * TestIdler::kMostBanNs;
  YieldFor(kNanosPerMicro);
  EXPECT_EQ(BanAfterHog(), 8 * TestIdler::kFirstBanNs);
  YieldFor(8 * TestIdler::kFirstBanNs);
  MeetHog();
  EXPECT_EQ(BanAfterHog(), TestIdler::kFirstBanNs);
}

TEST_F(IdlerTest, AYieldJustShortOfAHogIsNone) {
  FakeIdling::yield_ns = TestIdler::kHogNs - 1;
  TurnsUntilPark(WaitMode::kYield);
  EXPECT_EQ(idler_.hogs(), 0u);
}

// A wait in a crowd that lasts `wait_ns`, most of it asleep if it parks, and brings `count` things:
// whether it parked at once.
class CrowdTest : public IdlerTest {
 protected:
  bool WaitParks(int64_t wait_ns, size_t count, bool crowd = true) {
    const int64_t begun_ns = FakeIdling::now_ns;
    const bool parks = idler_.ShouldPark(WaitMode::kYield, crowd);
    while (FakeIdling::now_ns < begun_ns + wait_ns) {
      if (idler_.ShouldPark(WaitMode::kYield, crowd)) FakeIdling::now_ns = begun_ns + wait_ns;
    }
    idler_.Worked(count);
    return parks;
  }
  static constexpr int64_t kSlowNs = TestIdler::kPaceNs + kNanosPerMicro;
};

TEST_F(CrowdTest, WhereWorkComesFastItYields) {
  for (int i = 0; i < 10; ++i) {
    EXPECT_FALSE(WaitParks(TestIdler::kPaceNs, 1));
    // One that parked by its budget, too.
    EXPECT_FALSE(WaitParks(32 * TestIdler::kPaceNs, 32));
  }
}

TEST_F(CrowdTest, WhereItComesSlowlyItParksAtOnceAndStaysSo) {
  for (int i = 0; i < TestIdler::kSlowWaits; ++i) EXPECT_FALSE(WaitParks(kSlowNs, 1)) << i;
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(WaitParks(32 * kSlowNs, 32)) << i;
  EXPECT_TRUE(WaitParks(32 * TestIdler::kPaceNs, 32)) << "this one is fast";
  EXPECT_FALSE(WaitParks(kSlowNs, 1)) << "so the next one yields";
}

TEST_F(CrowdTest, OneSlowWaitBetweenFastOnesChangesNothing) {
  for (int i = 0; i < 10; ++i) {
    EXPECT_FALSE(WaitParks(kSlowNs, 1));
    EXPECT_FALSE(WaitParks(TestIdler::kPaceNs, 1));
  }
}

TEST_F(CrowdTest, WithoutACrowdTheyAllYield) {
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(WaitParks(kSlowNs, 1, false));
}

TEST_F(IdlerTest, AChangeOfModeCountsFromTheNextWait) {
  EXPECT_FALSE(idler_.ShouldPark(WaitMode::kYield));
  EXPECT_FALSE(idler_.ShouldPark(WaitMode::kPark));
  idler_.Worked();
  EXPECT_TRUE(idler_.ShouldPark(WaitMode::kPark));
}

}  // namespace
}  // namespace millrace
