#include "services/supervisor/stage_storms.h"

#include "gtest/gtest.h"

namespace millrace {
namespace {

constexpr Stage kStage = Stage::kExecution;

class StageStormsTest : public testing::Test {
 protected:
  StageBreaker State(Stage stage = kStage) const {
    return storms.states()[static_cast<size_t>(stage)];
  }
  void Die(int64_t now, StageStorms::Death death = {}) { storms.Died(kStage, death, now); }
  void Open() {
    for (int i = 0; i < 3; ++i) Die(i);
    ASSERT_EQ(State(), StageBreaker::kOpen);
  }

  StageStorms storms{3, 100, 1000};
};

TEST_F(StageStormsTest, DeathsWithinThePeriodOpenThatStageAlone) {
  Die(0);
  Die(60);
  Die(130);  // the first is too old
  EXPECT_EQ(State(), StageBreaker::kClosed);
  Die(150);
  EXPECT_EQ(State(), StageBreaker::kOpen);
  EXPECT_EQ(State(Stage::kFeatures), StageBreaker::kClosed);
}

TEST_F(StageStormsTest, OnlyThoseCountThatProvedNothing) {
  for (int i = 0; i < 20; ++i) Die(i, {.executing = true});
  EXPECT_EQ(State(), StageBreaker::kClosed);
  for (const StageStorms::Death& death :
       {StageStorms::Death{.answered = true}, StageStorms::Death{.others_serve = true}}) {
    for (int i = 0; i < 20; ++i) {
      Die(i);
      Die(i);
      Die(i, death);
      EXPECT_EQ(State(), StageBreaker::kClosed);
    }
  }
}

TEST_F(StageStormsTest, HalfOpenAfterTheRestAndClosedByAnAnswer) {
  Open();
  storms.Look(kStage, {}, 5000);
  EXPECT_EQ(State(), StageBreaker::kOpen) << "nobody is ready";
  storms.Look(kStage, {.ready = true}, 1001);
  EXPECT_EQ(State(), StageBreaker::kOpen) << "it rests";
  storms.Look(kStage, {.ready = true}, 1002);
  EXPECT_EQ(State(), StageBreaker::kHalfOpen);
  Die(1003);
  EXPECT_EQ(State(), StageBreaker::kOpen) << "one death is enough";
  storms.Look(kStage, {.ready = true}, 2003);
  EXPECT_EQ(State(), StageBreaker::kHalfOpen);
  storms.Look(kStage, {.ready = true, .answered = true}, 2004);
  EXPECT_EQ(State(), StageBreaker::kClosed);
  Die(2005);
  EXPECT_EQ(State(), StageBreaker::kClosed) << "the count begins again";
}

}  // namespace
}  // namespace millrace
