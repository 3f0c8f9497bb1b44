// Scaling by policy: what the fleet makes of the pages, when it holds still, and who overrules it.
#include <algorithm>

#include "gtest/gtest.h"
#include "services/supervisor/fleet_fake.h"

namespace millrace {
namespace {

class FleetScaleTest : public FleetTest {
 protected:
  FleetScaleTest() {
    config.execution_max_workers = 3;
    config.execution_queue_delay_us = 1'000;
    config.scale_up_after_ms = 1'000;
    config.scale_down_after_ms = 3'000;
  }

  // The workers' pages tell of so much delay and work for so long; everybody answers.
  void Pass(double seconds, int64_t delay_us, double busy) {
    const int64_t end_ns = hands.now_ns + static_cast<int64_t>(seconds * 1e9);
    while (hands.now_ns < end_ns) {
      for (auto& [key, process] : fleet->processes()) {
        if (process.stage != Stage::kExecution || hands.looks.count(key) == 0) continue;
        PageLook& look = hands.looks[key];
        look.taken += 10;
        look.queue_delay_ns = delay_us * 1000;
        look.busy_ns += static_cast<uint64_t>(busy * static_cast<double>(Fleet::kTickNs));
      }
      Tick();
      Play();
    }
  }

  size_t Count(Stage stage = Stage::kExecution) const {
    return std::count_if(fleet->slots().begin(), fleet->slots().end(), [&](const auto& entry) {
      return entry.first.first == stage && !entry.second.leaving;
    });
  }

  Config config;
};

TEST_F(FleetScaleTest, DelayAddsProcessesAndIdlenessTakesThemAway) {
  StartAll(config);
  Pass(5, 500, 0.6);
  EXPECT_EQ(Count(), 1u) << "below the target";
  Pass(1.6, 2'000, 1);
  EXPECT_EQ(Count(), 2u);
  EXPECT_EQ(StateOf(KeyOf(Stage::kExecution, 1)), ProcessState::kReady);
  Pass(6, 2'000, 1);
  EXPECT_EQ(Count(), 3u) << "the most";
  EXPECT_EQ(Count(Stage::kFeatures), 1u) << "it has no policy";
  Pass(3.6, 10, 0.1);
  EXPECT_EQ(Count(), 2u);
  Pass(10, 10, 0.1);
  EXPECT_EQ(Count(), 1u) << "the least";
  EXPECT_TRUE(fleet->Ready());
}

TEST_F(FleetScaleTest, AnOldAverageOfAWorkerThatDoesNothingCountsNot) {
  StartAll(config);
  const uint32_t worker = KeyOf(Stage::kExecution);
  hands.looks[worker].queue_delay_ns = 50'000'000;
  for (int i = 0; i < 100; ++i) Tick();
  EXPECT_EQ(Count(), 1u);
  // But what waits at a worker that takes nothing is delay.
  hands.looks[worker].queue_depth = 3;
  for (int i = 0; i < 40; ++i) Tick();
  EXPECT_GT(Count(), 1u);
}

TEST_F(FleetScaleTest, AHandPinsItUntilItIsLetGoAndTheNextSupervisorKnows) {
  StartAll(config);
  ASSERT_TRUE(fleet->Scale(Stage::kExecution, 1).ok());
  Pass(10, 9'000, 1);
  EXPECT_EQ(Count(), 1u);
  EXPECT_TRUE(fleet->IsPinned(Stage::kExecution));
  FleetState state;
  ASSERT_TRUE(state.ParseFromString(hands.state));
  played = hands.told.size();
  Make(config);
  fleet->Adopt(state);
  EXPECT_TRUE(fleet->IsPinned(Stage::kExecution));
  Pass(10, 9'000, 1);
  EXPECT_EQ(Count(), 1u);
  ASSERT_TRUE(fleet->ScaleByPolicy(Stage::kExecution).ok());
  Pass(3, 9'000, 1);
  EXPECT_GT(Count(), 1u);
  const absl::Status refused = fleet->ScaleByPolicy(Stage::kFeatures);
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
}

TEST_F(FleetScaleTest, OneThatWasPinnedBeyondTheBoundsComesBack) {
  StartAll(config);
  ASSERT_TRUE(fleet->Scale(Stage::kExecution, 5).ok());
  Play();
  Pass(2, 10, 0.1);
  EXPECT_EQ(Count(), 5u);
  ASSERT_TRUE(fleet->ScaleByPolicy(Stage::kExecution).ok());
  Pass(2, 2'000, 1);
  EXPECT_EQ(Count(), 3u);
}

TEST_F(FleetScaleTest, NothingIsScaledWhileTheStageIsNotItselfOrACatalogIsOnItsWay) {
  StartAll(config);
  // A second process that does not come up.
  Pass(1.6, 2'000, 1);
  ASSERT_EQ(Count(), 2u);
  mute.insert(KeyOf(Stage::kExecution, 1));
  fleet->OnEnd(KeyOf(Stage::kExecution, 1), {1, 0});
  mute.insert(KeyOf(Stage::kExecution, 1));
  Pass(5, 9'000, 1);
  EXPECT_EQ(Count(), 2u);
  mute.clear();
  // A catalog that features does not take up.
  fleet->OnEnd(KeyOf(Stage::kExecution, 1), {1, 0});
  Pass(1, 500, 0.5);
  ASSERT_EQ(StateOf(KeyOf(Stage::kExecution, 1)), ProcessState::kReady);
  mute.insert(KeyOf(Stage::kFeatures));
  Publish(KeyOf(Stage::kRegistry), 2, 2);
  Pass(5, 9'000, 1);
  EXPECT_EQ(Count(), 2u);
}

TEST_F(FleetScaleTest, ItEndsAtTheCpusOfTheStage) {
  config.execution_cpus = "0-1";
  StartAll(config);
  Pass(20, 9'000, 1);
  EXPECT_EQ(Count(), 2u);
}

TEST_F(FleetScaleTest, ToldItGoesBeyondThem) {
  config.execution_cpus = "0-1";
  config.scale_beyond_cpus = "true";
  StartAll(config);
  Pass(20, 9'000, 1);
  EXPECT_EQ(Count(), 3u);
}

TEST_F(FleetScaleTest, TheMemoryBudgetBoundsItToo) {
  config.memory_budget_mb = 700;  // two incarnations of six times 64 MB, which nobody announced
  StartAll(config);
  for (const auto& [name, slot] : fleet->slots()) const_cast<FleetSlot&>(slot).bytes = 64 << 20;
  Pass(20, 9'000, 1);
  EXPECT_EQ(Count(), 1u);
}

}  // namespace
}  // namespace millrace
