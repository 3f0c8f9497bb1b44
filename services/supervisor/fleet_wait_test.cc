// Fleet: how lanes wait, and on which CPUs.
#include <set>

#include "gtest/gtest.h"
#include "services/supervisor/fleet_fake.h"

namespace millrace {
namespace {

WaitMode WaitOf(const std::vector<RosterEntry>& roster, Stage stage) {
  for (const RosterEntry& entry : roster) {
    if (entry.stage == stage) return entry.wait;
  }
  ADD_FAILURE() << "the stage has no lane";
  return WaitMode::kYield;
}

TEST_F(FleetTest, AChangeOfPolicyIsANewRosterAndRestartsNobody) {
  cores = 2;
  StartAll();
  for (const RosterEntry& entry : hands.roster) EXPECT_EQ(entry.wait, WaitMode::kYield);
  const int before = hands.rosters;
  const std::set<uint32_t> alive = hands.alive;
  hands.load = LoadLook{2.0};
  for (int i = 0; i < Fleet::kTicksALoad * WaitPolicy::kSoon; ++i) Tick();
  EXPECT_EQ(hands.samples, WaitPolicy::kSoon) << "one each kTicksALoad";
  EXPECT_EQ(hands.rosters, before + 1);
  EXPECT_EQ(hands.roster.size(), 5u);
  EXPECT_EQ(hands.wakes_last, 5u);
  for (const RosterEntry& entry : hands.roster) {
    EXPECT_EQ(entry.wait, WaitMode::kPark);
    EXPECT_EQ(entry.state, RosterState::kReady);
  }
  EXPECT_EQ(hands.alive, alive);
  EXPECT_EQ(fleet->WaitOf(Stage::kExecution), WaitMode::kPark);
  // What cannot be read changes nothing.
  hands.load = std::nullopt;
  for (int i = 0; i < Fleet::kTicksALoad * 2 * WaitPolicy::kLate; ++i) Tick();
  EXPECT_EQ(hands.rosters, before + 1);
  EXPECT_EQ(fleet->load_sample()->foreign_cores, 2.0);
}

TEST_F(FleetTest, ANamedWayToWaitStandsInTheFirstRoster) {
  Config config;
  config.wait = "park";
  StartAll(config);
  for (const RosterEntry& entry : hands.roster) EXPECT_EQ(entry.wait, WaitMode::kPark);
}

TEST_F(FleetTest, WorkersGetTheirCpusAndSpinOnThoseTheyOwn) {
  Config config;
  config.ingress_cpus = "0-1";
  config.features_workers = 2;
  config.features_cpus = "6";
  config.execution_workers = 2;
  config.execution_cpus = "2-5";
  config.aggregation_cpus = "7";
  StartAll(config);
  EXPECT_EQ(hands.pinned["registry0"], CpuList());
  EXPECT_EQ(hands.pinned["ingress0"], (CpuList{0, 1}));
  EXPECT_EQ(hands.pinned["features0"], CpuList{6}) << "too few for two: they share";
  EXPECT_EQ(hands.pinned["features1"], CpuList{6});
  EXPECT_EQ(hands.pinned["execution0"], (CpuList{2, 3}));
  EXPECT_EQ(hands.pinned["execution1"], (CpuList{4, 5}));
  hands.load = LoadLook{7.0};
  for (int i = 0; i < Fleet::kTicksALoad * WaitPolicy::kSoon; ++i) Tick();
  EXPECT_EQ(WaitOf(hands.roster, Stage::kIngress), WaitMode::kSpin);
  EXPECT_EQ(WaitOf(hands.roster, Stage::kExecution), WaitMode::kSpin);
  EXPECT_EQ(WaitOf(hands.roster, Stage::kAggregation), WaitMode::kSpin);
  EXPECT_EQ(WaitOf(hands.roster, Stage::kFeatures), WaitMode::kPark);
  // A third one takes its part of three, though the others keep their halves: they may meet now.
  ASSERT_TRUE(fleet->Scale(Stage::kExecution, 3).ok());
  Play();
  EXPECT_EQ(hands.pinned["execution2"], (CpuList{4, 5}));
  for (int i = 0; i < Fleet::kTicksALoad; ++i) Tick();
  EXPECT_EQ(WaitOf(hands.roster, Stage::kExecution), WaitMode::kPark);
}

}  // namespace
}  // namespace millrace
