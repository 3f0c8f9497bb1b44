// Fleet: scaling, draining, the order of the stop.
#include <signal.h>

#include <algorithm>

#include "gtest/gtest.h"
#include "services/supervisor/fleet.h"
#include "services/supervisor/fleet_fake.h"

namespace millrace {
namespace {

TEST_F(FleetTest, ScalingUpAddsProcessesThatMeetEverybody) {
  StartAll();
  EXPECT_TRUE(fleet->Scale(Stage::kExecution, 3).ok());
  Play();
  EXPECT_EQ(hands.roster.size(), 7u);
  for (const RosterEntry& entry : hands.roster) EXPECT_EQ(entry.state, RosterState::kReady);
  EXPECT_TRUE(fleet->Scale(Stage::kIngress, 2).ok());
  Play();
  EXPECT_EQ(hands.roster.size(), 9u);
  EXPECT_EQ(CountTold(KeyOf(Stage::kIngress, 1), ToProcess::kCatalogLive), 1u);
}

TEST_F(FleetTest, ScalingIsRefusedBeyondTheTablesAndTheBudget) {
  Config config;
  config.memory_budget_mb = 64;
  StartAll(config);
  EXPECT_FALSE(fleet->Scale(Stage::kIngress, 3).ok());
  EXPECT_FALSE(fleet->Scale(Stage::kRegistry, 2).ok());
  EXPECT_FALSE(fleet->Scale(Stage::kExecution, 0).ok());
  // The fake's processes have no bytes, so an unknown size is reckoned with.
  EXPECT_EQ(fleet->Scale(Stage::kExecution, 2).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(KeyOf(Stage::kExecution, 1), 0u);
}

TEST_F(FleetTest, ScalingDownDrainsThenStopsAndDoesNotRestart) {
  Config config;
  config.features_workers = 3;
  StartAll(config);
  const uint32_t leaving = KeyOf(Stage::kFeatures, 2);
  mute.insert(leaving);
  EXPECT_TRUE(fleet->Scale(Stage::kFeatures, 2).ok());
  Play();
  EXPECT_EQ(hands.InRoster(leaving)->state, RosterState::kLeaving);
  EXPECT_EQ(CountTold(leaving, ToProcess::kDrain), 1u);
  EXPECT_FALSE(fleet->Scale(Stage::kFeatures, 3).ok()) << "it is still leaving";
  FromProcess drained;
  drained.mutable_drained();
  Say(leaving, drained);
  EXPECT_EQ(CountTold(leaving, ToProcess::kStop), 1u);
  fleet->OnEnd(leaving, {0, 0});
  EXPECT_EQ(fleet->slots().count({Stage::kFeatures, 2}), 0u);
  for (int i = 0; i < 10; ++i) Tick();
  EXPECT_EQ(KeyOf(Stage::kFeatures, 2), 0u);
  EXPECT_EQ(fleet->deaths(), 0u);
  EXPECT_TRUE(fleet->Scale(Stage::kFeatures, 3).ok());
}

TEST_F(FleetTest, OneThatDoesNotDrainIsStoppedInTime) {
  Config config;
  config.features_workers = 2;
  config.drain_ms = 500;
  StartAll(config);
  const uint32_t leaving = KeyOf(Stage::kFeatures, 1);
  mute.insert(leaving);
  EXPECT_TRUE(fleet->Scale(Stage::kFeatures, 1).ok());
  for (int i = 0; i < 9; ++i) Tick();
  EXPECT_EQ(CountTold(leaving, ToProcess::kStop), 0u);
  for (int i = 0; i < 3; ++i) Tick();
  EXPECT_EQ(CountTold(leaving, ToProcess::kStop), 1u);
  for (int i = 0; i < 41; ++i) Tick();
  EXPECT_EQ(hands.journal.back(), "signal 9 " + std::to_string(leaving));
}

TEST_F(FleetTest, TheStopDrainsIngressThenEndsGroupsInReverse) {
  StartAll();
  const std::string registry = std::to_string(KeyOf(Stage::kRegistry));
  const std::string ingress = std::to_string(KeyOf(Stage::kIngress));
  std::set<std::string> workers;
  for (Stage stage : {Stage::kFeatures, Stage::kExecution, Stage::kAggregation}) {
    workers.insert("stop " + std::to_string(KeyOf(stage)));
  }
  hands.journal.clear();
  mute.insert(KeyOf(Stage::kIngress));
  fleet->Stop();
  EXPECT_EQ(hands.journal, (std::vector<std::string>{"roster", "drain " + ingress}));
  for (const RosterEntry& entry : hands.roster) {
    EXPECT_EQ(entry.state == RosterState::kLeaving, entry.stage == Stage::kIngress);
  }
  mute.clear();
  FromProcess drained;
  drained.mutable_drained();
  Say(KeyOf(Stage::kIngress), drained);
  Play();
  EXPECT_EQ(fleet->phase(), FleetPhase::kDone);
  EXPECT_EQ(fleet->exit_code(), 0);
  std::erase(hands.journal, "roster");
  ASSERT_EQ(hands.journal.size(), 6u);
  EXPECT_EQ(hands.journal[1], "stop " + ingress);
  EXPECT_EQ(std::set<std::string>(hands.journal.begin() + 2, hands.journal.begin() + 5), workers);
  EXPECT_EQ(hands.journal[5], "stop " + registry);
  EXPECT_TRUE(fleet->processes().empty());
}

TEST_F(FleetTest, TheDrainHasALimit) {
  Config config;
  config.drain_ms = 1000;
  StartAll(config);
  const uint32_t ingress = KeyOf(Stage::kIngress);
  mute.insert(ingress);
  fleet->Stop();
  for (int i = 0; i < 19; ++i) Tick();
  EXPECT_EQ(CountTold(ingress, ToProcess::kStop), 0u);
  for (int i = 0; i < 2; ++i) Tick();
  EXPECT_EQ(CountTold(ingress, ToProcess::kStop), 1u);
  for (int i = 0; i < 41; ++i) Tick();
  EXPECT_EQ(hands.journal.back(), "signal 9 " + std::to_string(ingress)) << "it does not end";
  fleet->OnEnd(ingress, {0, SIGKILL});
  Play();
  EXPECT_EQ(fleet->phase(), FleetPhase::kDone);
}

TEST_F(FleetTest, WorkersAreReplacedWhileIngressDrainsAndIngressIsNot) {
  StartAll();
  mute.insert(KeyOf(Stage::kIngress));
  fleet->Stop();
  const uint32_t execution = KeyOf(Stage::kExecution);
  hands.looks[execution].answered = true;
  fleet->OnEnd(execution, {0, SIGKILL});
  EXPECT_NE(KeyOf(Stage::kExecution), 0u);
  Play();
  EXPECT_EQ(fleet->phase(), FleetPhase::kDraining);
  fleet->OnEnd(KeyOf(Stage::kIngress), {0, SIGKILL});
  Play();
  EXPECT_EQ(KeyOf(Stage::kIngress), 0u);
  EXPECT_EQ(fleet->phase(), FleetPhase::kDone);
}

TEST_F(FleetTest, AStopDuringTheStartEndsWhatThereIs) {
  Make();
  fleet->Start();
  fleet->Stop();
  EXPECT_EQ(CountTold(KeyOf(Stage::kRegistry), ToProcess::kStop), 1u);
  fleet->OnEnd(KeyOf(Stage::kRegistry), {0, 0});
  EXPECT_EQ(fleet->phase(), FleetPhase::kDone);
}

TEST_F(FleetTest, ASecondStopDoesNotWaitForTheDrain) {
  StartAll();
  mute.insert(KeyOf(Stage::kIngress));
  fleet->Stop();
  fleet->StopNow();
  EXPECT_EQ(CountTold(KeyOf(Stage::kIngress), ToProcess::kStop), 1u);
}

// The last of its kind that a process was told.
ToProcess LastTold(const FakeHands& hands, uint32_t key, ToProcess::MessageCase kind) {
  for (size_t i = hands.told.size(); i-- > 0;) {
    const Told& told = hands.told[i];
    if (told.key == key && told.message.message_case() == kind) return told.message;
  }
  return ToProcess();
}

TEST_F(FleetTest, ACandidateHoldsItsIngressUntilItIsOpened) {
  hold = true;
  unloaded = {"old"};
  StartAll();
  const uint32_t registry = KeyOf(Stage::kRegistry), ingress = KeyOf(Stage::kIngress);
  EXPECT_TRUE(LastTold(hands, ingress, ToProcess::kConfigure).configure().hold());
  EXPECT_EQ(LastTold(hands, registry, ToProcess::kConfigure).configure().unloaded(0), "old");
  // Also one that is started meanwhile.
  fleet->OnDeath(ingress, hands.now_ns);
  fleet->OnEnd(ingress, {0, SIGKILL});
  for (int i = 0; i < 10; ++i) Tick();
  Play();
  const uint32_t next = KeyOf(Stage::kIngress);
  ASSERT_NE(next, ingress);
  EXPECT_TRUE(LastTold(hands, next, ToProcess::kConfigure).configure().hold());
  EXPECT_EQ(CountTold(next, ToProcess::kOpen), 0u);
  fleet->Open();
  EXPECT_EQ(CountTold(next, ToProcess::kOpen), 1u);
  fleet->Open();
  EXPECT_EQ(CountTold(next, ToProcess::kOpen), 1u);
  EXPECT_TRUE(fleet->Scale(Stage::kIngress, 2).ok());
  const uint32_t second = KeyOf(Stage::kIngress, 1);
  EXPECT_FALSE(LastTold(hands, second, ToProcess::kConfigure).configure().hold());
}

TEST_F(FleetTest, ClientsAreMovedWhereOthersServeAndOnlyThere) {
  Config config;
  config.ingress_workers = 2;
  StartAll(config);
  const uint32_t first = KeyOf(Stage::kIngress, 0), second = KeyOf(Stage::kIngress, 1);
  mute = {first, second};
  EXPECT_TRUE(fleet->Scale(Stage::kIngress, 1).ok());
  EXPECT_TRUE(LastTold(hands, second, ToProcess::kDrain).drain().others_serve());
  fleet->Stop();
  EXPECT_FALSE(LastTold(hands, first, ToProcess::kDrain).drain().others_serve());
}

TEST_F(FleetTest, AHandoverIsAStopThatMovesTheClients) {
  StartAll();
  const uint32_t ingress = KeyOf(Stage::kIngress);
  mute = {ingress};
  fleet->HandOver();
  EXPECT_EQ(fleet->phase(), FleetPhase::kDraining);
  EXPECT_TRUE(LastTold(hands, ingress, ToProcess::kDrain).drain().others_serve());
  FleetState stored;
  ASSERT_TRUE(stored.ParseFromString(hands.state));
  EXPECT_TRUE(stored.others_serve());
  // A supervisor that takes over now says the same again.
  Make();
  fleet->Adopt(stored);
  EXPECT_TRUE(LastTold(hands, ingress, ToProcess::kDrain).drain().others_serve());
  EXPECT_EQ(CountTold(ingress, ToProcess::kDrain), 2u);
  mute.clear();
  played = hands.told.size();
  FromProcess drained;
  drained.mutable_drained();
  Say(ingress, drained);
  Play();
  EXPECT_EQ(fleet->phase(), FleetPhase::kDone);
}

}  // namespace
}  // namespace millrace
