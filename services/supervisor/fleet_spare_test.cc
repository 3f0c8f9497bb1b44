// Warm spares: who is promoted, when, and what never waits for a spare.
#include <signal.h>

#include <algorithm>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "services/supervisor/fleet_fake.h"
#include "services/supervisor/stage_table.h"

namespace millrace {
namespace {

class FleetSpareTest : public FleetTest {
 protected:
  void StartWithSpare(int64_t spares = 1) {
    config.execution_spare = spares;
    StartAll(config);
    ASSERT_NE(SpareKey(), 0u);
    ASSERT_EQ(StateOf(SpareKey()), ProcessState::kReady);
  }

  uint32_t SpareKey(uint32_t spare = 0) const {
    return KeyOf(Stage::kExecution, SpareIndex(Stage::kExecution, spare));
  }

  std::vector<uint32_t> Routable() const {
    std::vector<uint32_t> keys;
    for (const RosterEntry& entry : hands.roster) {
      if (entry.stage == Stage::kExecution && entry.state == RosterState::kReady) {
        keys.push_back(entry.incarnation);
      }
    }
    return keys;
  }

  void Die(uint32_t key, bool answered = true) {
    if (answered) hands.looks[key].answered = true;
    hands.journal.clear();
    fleet->OnDeath(key, hands.now_ns);
  }

  // Until the next spare is started.
  void AwaitSpare() {
    for (int i = 0; i < 10 && SpareKey() == 0; ++i) Tick();
    ASSERT_NE(SpareKey(), 0u);
  }

  void TakeOver() {
    FleetState state;
    ASSERT_TRUE(state.ParseFromString(hands.state));
    hands.journal.clear();
    played = hands.told.size();
    Make(config);
    fleet->Adopt(state);
  }

  Config config;
};

TEST_F(FleetSpareTest, ItIsStartedLastLinkedWarmAndNoRouteNamesIt) {
  StartWithSpare();
  EXPECT_EQ(hands.journal.front(), "spawn registry0");
  const auto spawned = [&](const char* name) {
    return std::find(hands.journal.begin(), hands.journal.end(), std::string("spawn ") + name);
  };
  EXPECT_LT(spawned("ingress0"), spawned("execution_spare0")) << "a start does not wait for it";
  ASSERT_NE(hands.InRoster(SpareKey()), nullptr) << "else lanes would take it for dead";
  EXPECT_EQ(hands.InRoster(SpareKey())->state, RosterState::kStarting);
  EXPECT_EQ(Routable(), std::vector<uint32_t>{KeyOf(Stage::kExecution)});
  EXPECT_GT(CountTold(SpareKey(), ToProcess::kCatalog), 0u);
  EXPECT_EQ(CountTold(KeyOf(Stage::kIngress), ToProcess::kPeer), 4u);
}

TEST_F(FleetSpareTest, TheRosterWithoutTheDeadNamesTheSpareAndTheNextOneStartsBehindIt) {
  StartWithSpare();
  const uint32_t dead = KeyOf(Stage::kExecution), spare = SpareKey();
  const size_t told = hands.told.size();
  const int rosters = hands.rosters;
  Die(dead);
  EXPECT_EQ(hands.journal, std::vector<std::string>{"roster"});
  EXPECT_EQ(hands.rosters, rosters + 1);
  EXPECT_EQ(hands.rosters_with_state.back().first.size(), hands.roster.size());
  EXPECT_EQ(Routable(), std::vector<uint32_t>{spare});
  EXPECT_EQ(hands.InRoster(spare)->index, 0);
  EXPECT_EQ(KeyOf(Stage::kExecution), spare);
  EXPECT_EQ(fleet->promotions(), 1u);
  EXPECT_TRUE(fleet->Ready());
  EXPECT_EQ(hands.told.size(), told) << "one store is all that the promotion takes";
  EXPECT_EQ(SpareKey(), 0u) << "first those are answered who had to wait";
  AwaitSpare();
  Play();
  EXPECT_EQ(StateOf(SpareKey()), ProcessState::kReady);
  EXPECT_EQ(Routable(), std::vector<uint32_t>{spare});
}

TEST_F(FleetSpareTest, AHangIsReplacedByTheSpareBeforeTheSignal) {
  StartWithSpare();
  const uint32_t hung = KeyOf(Stage::kExecution), spare = SpareKey();
  Tick();
  hands.journal.clear();
  silent.insert(hung);
  for (int i = 0; i < 40 && fleet->hangs() == 0; ++i) Tick();
  ASSERT_EQ(fleet->hangs(), 1u);
  const std::string signal = "signal " + std::to_string(SIGABRT) + " " + std::to_string(hung);
  const auto sent = std::find(hands.journal.begin(), hands.journal.end(), signal);
  ASSERT_NE(sent, hands.journal.end());
  EXPECT_EQ(*(sent - 1), "roster");
  EXPECT_EQ(Routable(), std::vector<uint32_t>{spare});
}

TEST_F(FleetSpareTest, ASpareThatDiesOrHangsIsReplacedAndCostsNobodyAnything) {
  StartWithSpare();
  const uint32_t worker = KeyOf(Stage::kExecution);
  for (int i = 0; i < 8; ++i) {
    const uint32_t spare = SpareKey();
    Die(spare, /*answered=*/false);
    EXPECT_EQ(Routable(), std::vector<uint32_t>{worker});
    fleet->OnEnd(spare, {0, SIGKILL});
    EXPECT_EQ(SpareKey() == 0, i >= 1) << "the first comes back at once, the others wait";
    while (SpareKey() == 0) Tick();
    Play();
    ASSERT_EQ(StateOf(SpareKey()), ProcessState::kReady);
  }
  for (StageBreaker state : fleet->storms().states()) EXPECT_EQ(state, StageBreaker::kClosed);
  EXPECT_TRUE(fleet->Ready());
  EXPECT_EQ(fleet->promotions(), 0u);
  silent.insert(SpareKey());
  for (int i = 0; i < 40 && fleet->hangs() == 0; ++i) Tick();
  EXPECT_EQ(fleet->hangs(), 1u);
  EXPECT_EQ(Routable(), std::vector<uint32_t>{worker});
}

TEST_F(FleetSpareTest, NobodyWaitsForASpareThatDoesNotComeUpOrTakeUpACatalog) {
  StartWithSpare();
  mute.insert(SpareKey());
  // A new peer is not linked with it: it serves all the same, and the spare is not promoted yet.
  hands.looks[KeyOf(Stage::kFeatures)].answered = true;
  fleet->OnDeath(KeyOf(Stage::kFeatures), hands.now_ns);
  Play();
  EXPECT_TRUE(fleet->Ready());
  // Nor is a catalog held up.
  Publish(KeyOf(Stage::kRegistry), 2, 2);
  Play();
  EXPECT_EQ(fleet->live_generation(), 2u);
  const uint32_t spare = SpareKey(), dead = KeyOf(Stage::kExecution);
  Die(dead);
  EXPECT_NE(KeyOf(Stage::kExecution), spare) << "it knows neither the peer nor the catalog";
  Play();
  EXPECT_TRUE(fleet->Ready()) << "the place got a process of its own";
  EXPECT_EQ(fleet->promotions(), 0u);
}

TEST_F(FleetSpareTest, OneThatLacksALinkIsNotPromotedAndItsDeathIsNotTheStages) {
  config.storm_intensity = 2;
  StartWithSpare();
  const uint32_t spare = SpareKey();
  mute.insert(spare);
  hands.looks[KeyOf(Stage::kFeatures)].answered = true;
  fleet->OnDeath(KeyOf(Stage::kFeatures), hands.now_ns);
  Play();
  Die(KeyOf(Stage::kExecution), /*answered=*/false);
  mute.insert(KeyOf(Stage::kExecution));
  EXPECT_EQ(SpareKey(), spare);
  EXPECT_TRUE(Routable().empty());
  Die(spare, /*answered=*/false);
  Play();
  EXPECT_EQ(fleet->storms().states()[static_cast<size_t>(Stage::kExecution)], StageBreaker::kClosed)
      << "one worker died, not two";
}

TEST_F(FleetSpareTest, OneThatLacksTheLiveCatalogIsNotPromoted) {
  StartWithSpare();
  const uint32_t spare = SpareKey();
  mute.insert(spare);
  Publish(KeyOf(Stage::kRegistry), 2, 2);
  Play();
  ASSERT_EQ(fleet->live_generation(), 2u);
  Die(KeyOf(Stage::kExecution));
  EXPECT_EQ(SpareKey(), spare);
  EXPECT_TRUE(Routable().empty());
}

TEST_F(FleetSpareTest, NoneIsStartedWhileAnotherStageIsDown) {
  StartWithSpare();
  const uint32_t features = KeyOf(Stage::kFeatures);
  Die(features);
  mute.insert(KeyOf(Stage::kFeatures));
  Die(SpareKey());
  Play();
  EXPECT_EQ(SpareKey(), 0u);
  const uint32_t slow = KeyOf(Stage::kFeatures);
  mute.clear();
  for (size_t i = 0, count = hands.told.size(); i < count; ++i) {
    if (hands.told[i].key == slow) Answer(Told(hands.told[i]));
  }
  Play();
  ASSERT_TRUE(fleet->Ready());
  EXPECT_NE(SpareKey(), 0u);
}

TEST_F(FleetSpareTest, WhoeverIsReadyFirstServes) {
  StartWithSpare();
  const uint32_t first = SpareKey();
  Die(KeyOf(Stage::kExecution));
  AwaitSpare();
  const uint32_t second = SpareKey();
  mute.insert(second);
  Play();
  // Without a warm one the place starts its own; a spare that is warm earlier takes it.
  Die(first);
  EXPECT_TRUE(Routable().empty());
  const uint32_t own = KeyOf(Stage::kExecution);
  ASSERT_NE(own, 0u);
  mute = {own};
  for (size_t i = 0, count = hands.told.size(); i < count; ++i) {
    if (hands.told[i].key == second) Answer(Told(hands.told[i]));
  }
  Play();
  EXPECT_EQ(Routable(), std::vector<uint32_t>{second});
  EXPECT_EQ(KeyOf(Stage::kExecution), second);
  EXPECT_EQ(SpareKey(), own) << "they have changed places";
}

TEST_F(FleetSpareTest, TwoSparesTakeThePlacesOfTwoThatDieTogether) {
  config.execution_workers = 2;
  StartWithSpare(2);
  std::vector<uint32_t> spares = {SpareKey(0), SpareKey(1)};
  const uint32_t first = KeyOf(Stage::kExecution, 0), second = KeyOf(Stage::kExecution, 1);
  Die(first);
  Die(second);
  EXPECT_EQ(Routable(), spares);
  for (int i = 0; i < 4; ++i) Tick();
  Play();
  EXPECT_EQ(StateOf(SpareKey(0)), ProcessState::kReady);
  EXPECT_EQ(StateOf(SpareKey(1)), ProcessState::kReady);
}

TEST_F(FleetSpareTest, AScaleUpIsServedFromTheSpareAndCountsItNot) {
  config.memory_budget_mb = 4096;
  StartWithSpare();
  const uint32_t spare = SpareKey();
  ASSERT_TRUE(fleet->Scale(Stage::kExecution, 2).ok());
  EXPECT_EQ(KeyOf(Stage::kExecution, 1), spare);
  AwaitSpare();
  Play();
  EXPECT_EQ(Routable().size(), 2u);
  ASSERT_TRUE(fleet->Scale(Stage::kExecution, 1).ok());
  Play();
  EXPECT_EQ(Routable().size(), 1u);
  EXPECT_NE(SpareKey(), 0u) << "a scale down leaves the spare alone";
}

TEST_F(FleetSpareTest, ACrashLoopGetsNoMoreStartsThanWithout) {
  StartWithSpare();
  size_t spawns = 0;
  for (int i = 0; i < 40; ++i) {
    const uint32_t key = KeyOf(Stage::kExecution);
    if (key != 0 && fleet->processes().at(key).state == ProcessState::kReady) {
      Die(key, /*answered=*/false);
      fleet->OnEnd(key, {0, SIGSEGV});
    }
    Play();
    Tick();
  }
  spawns = std::count_if(hands.journal.begin(), hands.journal.end(), [](const std::string& what) {
    return what.rfind("spawn execution", 0) == 0;
  });
  const size_t incarnations = fleet->slots().at({Stage::kExecution, 0}).restarts;
  EXPECT_LE(incarnations, 7u) << "of 2 s: 0, 100, 200, 400, 800 ms and the two that were there";
  EXPECT_LE(spawns, 2u);
}

TEST_F(FleetSpareTest, TheNextSupervisorKeepsItAndPromotesIt) {
  StartWithSpare();
  const uint32_t spare = SpareKey(), worker = KeyOf(Stage::kExecution);
  TakeOver();
  EXPECT_EQ(SpareKey(), spare);
  EXPECT_EQ(hands.InRoster(spare)->state, RosterState::kStarting);
  Die(worker);
  EXPECT_EQ(Routable(), std::vector<uint32_t>{spare});
  AwaitSpare();
  Play();
  // It dies while there is no supervisor: the first roster of the next one names the spare.
  const uint32_t next = SpareKey();
  ASSERT_EQ(StateOf(next), ProcessState::kReady);
  hands.alive.erase(spare);
  const int rosters = hands.rosters;
  TakeOver();
  ASSERT_GT(hands.rosters, rosters);
  EXPECT_EQ(Routable(), std::vector<uint32_t>{next});
  EXPECT_EQ(fleet->promotions(), 2u);
}

TEST_F(FleetSpareTest, OneThatLacksALinkWhenItsSupervisorDiesIsNotTrusted) {
  StartWithSpare();
  const uint32_t spare = SpareKey();
  mute.insert(spare);
  hands.looks[KeyOf(Stage::kFeatures)].answered = true;
  fleet->OnDeath(KeyOf(Stage::kFeatures), hands.now_ns);
  Play();
  ASSERT_TRUE(fleet->Ready());
  TakeOver();
  EXPECT_EQ(StateOf(spare), ProcessState::kDying);
  EXPECT_TRUE(fleet->Ready());
}

TEST_F(FleetSpareTest, ASpareThatIsWrongWhereTheWorkerIsRightIsReplaced) {
  StartWithSpare();
  const auto tell = [&](uint32_t key, uint32_t golden) {
    FromProcess message;
    message.mutable_kernel_choice()->set_route(1);
    message.mutable_kernel_choice()->set_golden(golden);
    Say(key, message);
  };
  const uint32_t spare = SpareKey();
  tell(KeyOf(Stage::kExecution), 2);
  tell(spare, 2);
  EXPECT_EQ(StateOf(spare), ProcessState::kReady) << "all are wrong: it is the golden row";
  tell(KeyOf(Stage::kExecution), 1);
  tell(spare, 1);
  EXPECT_EQ(StateOf(spare), ProcessState::kReady);
  tell(spare, 2);
  EXPECT_EQ(StateOf(spare), ProcessState::kDying);
  tell(KeyOf(Stage::kExecution), 2);
  EXPECT_EQ(StateOf(KeyOf(Stage::kExecution)), ProcessState::kReady) << "a worker goes on";
}

TEST_F(FleetSpareTest, WithoutOneNothingChanges) {
  StartAll();
  EXPECT_EQ(fleet->slots().size(), 5u);
  EXPECT_EQ(ProcessName(Stage::kExecution, SpareIndex(Stage::kExecution, 1)), "execution_spare1");
}

}  // namespace
}  // namespace millrace
