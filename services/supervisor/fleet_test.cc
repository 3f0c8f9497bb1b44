#include "services/supervisor/fleet.h"

#include <signal.h>

#include <algorithm>

#include "gtest/gtest.h"
#include "services/supervisor/fleet_fake.h"
#include "services/supervisor/hang_policy.h"

namespace millrace {
namespace {

TEST_F(FleetTest, StartsInGroupsAndBecomesReady) {
  Make();
  fleet->Start();
  EXPECT_EQ(hands.journal, (std::vector<std::string>{"spawn registry0"}));
  Publish(KeyOf(Stage::kRegistry), 1);
  EXPECT_NE(KeyOf(Stage::kExecution), 0u);
  EXPECT_NE(KeyOf(Stage::kFeatures), 0u);
  EXPECT_NE(KeyOf(Stage::kAggregation), 0u);
  EXPECT_EQ(KeyOf(Stage::kIngress), 0u) << "ingress waits for the workers";
  played = 1;  // the registry has had its say
  Play();
  EXPECT_TRUE(fleet->Ready());
  EXPECT_EQ(fleet->live_generation(), 1u);
  ASSERT_EQ(hands.roster.size(), 5u) << "ingress has two lanes";
  for (const RosterEntry& entry : hands.roster) EXPECT_EQ(entry.state, RosterState::kReady);
  EXPECT_EQ(hands.wakes_last, 5u);
}

TEST_F(FleetTest, OnlyExecutionIsSentPlans) {
  StartAll();
  for (const Told& told : hands.told) {
    if (!told.message.has_catalog()) continue;
    const bool execution = stages[told.key] == Stage::kExecution;
    EXPECT_EQ(told.fds, execution ? 2u : 1u);
    EXPECT_EQ(told.message.catalog().plan_routes_size(), execution ? 1 : 0);
    EXPECT_NE(stages[told.key], Stage::kRegistry);
  }
}

TEST_F(FleetTest, EveryPairMeetsOnceAtBothEnds) {
  Config config;
  config.execution_workers = 2;
  config.ingress_workers = 2;
  StartAll(config);
  std::map<std::pair<uint32_t, uint32_t>, int> met;  // process told, lane
  for (const Told& told : hands.told) {
    if (!told.message.has_peer()) continue;
    const uint32_t lane = told.message.peer().name().incarnation();
    EXPECT_EQ((met[{told.key, lane}] += 1), 1);
    EXPECT_EQ(told.fds, told.message.peer().has_ledger() ? 4u : 3u);
  }
  // features, 2 execution and aggregation each meet 4 ingress lanes; features and aggregation meet
  // both execution processes; and back.
  EXPECT_EQ(met.size(), 4u * 4 + 2 * 4 + 2 * 2 + 2 * 2);
}

TEST_F(FleetTest, ALaneIsReadyOnlyWhenLinkedAndWarm) {
  Make();
  fleet->Start();
  Publish(KeyOf(Stage::kRegistry), 1);
  played = 1;
  const uint32_t features = KeyOf(Stage::kFeatures);
  mute.insert(features);
  Play();
  EXPECT_EQ(StateOf(features), ProcessState::kStarting);
  EXPECT_EQ(StateOf(KeyOf(Stage::kExecution)), ProcessState::kReady) << "no peer to wait for";
  EXPECT_EQ(hands.InRoster(features), nullptr);
  FromProcess announce;
  announce.mutable_announce()->add_lanes()->set_incarnation(features);
  announce.mutable_announce()->add_has_ledger(false);
  Say(features, announce, 3);
  EXPECT_EQ(hands.InRoster(features)->state, RosterState::kStarting);
  FromProcess warm;
  warm.mutable_catalog_ready()->set_generation(1);
  Say(features, warm);
  EXPECT_EQ(StateOf(features), ProcessState::kAnnounced) << "not linked yet";
  const uint32_t execution = KeyOf(Stage::kExecution);
  FromProcess up;
  up.mutable_link_up()->set_producer(features);
  up.mutable_link_up()->set_consumer(execution);
  Say(execution, up);
  EXPECT_EQ(StateOf(features), ProcessState::kAnnounced) << "one end is not enough";
  Say(features, up);
  EXPECT_EQ(hands.InRoster(features)->state, RosterState::kReady);
}

TEST_F(FleetTest, ADeathReroutesFirstThenReplacesThenTellsAtTheEnd) {
  StartAll();
  const uint32_t dead = KeyOf(Stage::kExecution);
  hands.looks[dead].answered = true;
  hands.journal.clear();
  fleet->OnDeath(dead, hands.now_ns - 5000);
  EXPECT_EQ(hands.journal, (std::vector<std::string>{"roster", "spawn execution0"}));
  EXPECT_EQ(hands.InRoster(dead), nullptr);
  EXPECT_EQ(fleet->last_reroute_ns(), 6000);
  EXPECT_GT(fleet->last_death_at_ns(), 0);
  const uint32_t next = KeyOf(Stage::kExecution);
  EXPECT_GT(next, dead);
  EXPECT_EQ(CountTold(KeyOf(Stage::kIngress), ToProcess::kPeerGone), 0u);
  fleet->OnEnd(dead, {0, SIGKILL});
  for (Stage stage : {Stage::kIngress, Stage::kFeatures, Stage::kAggregation}) {
    EXPECT_EQ(CountTold(KeyOf(stage), ToProcess::kPeerGone), 1u) << StageName(stage);
  }
  EXPECT_EQ(CountTold(next, ToProcess::kPeerGone), 0u) << "it never met the dead one";
  Play();
  EXPECT_TRUE(fleet->Ready());
  EXPECT_EQ(hands.InRoster(next)->state, RosterState::kReady);
  EXPECT_EQ(fleet->slots().at({Stage::kExecution, 0}).restarts, 1u);
}

TEST_F(FleetTest, AnEndWithoutAWarningReroutesToo) {
  StartAll();
  const uint32_t dead = KeyOf(Stage::kAggregation);
  fleet->OnEnd(dead, {3, 0});
  EXPECT_EQ(hands.InRoster(dead), nullptr);
  EXPECT_EQ(fleet->processes().count(dead), 0u);
  EXPECT_EQ(fleet->deaths(), 1u);
}

TEST_F(FleetTest, OneThatNeverAnsweredComesBackOnceAtOnceThenWaitsForItsBackOff) {
  StartAll();
  fleet->OnEnd(KeyOf(Stage::kFeatures), {1, 0});
  const uint32_t dead = KeyOf(Stage::kFeatures);
  ASSERT_NE(dead, 0u) << "it may have been killed from outside";
  fleet->OnEnd(dead, {1, 0});
  EXPECT_EQ(KeyOf(Stage::kFeatures), 0u);
  Tick();
  Tick();
  EXPECT_EQ(KeyOf(Stage::kFeatures), 0u) << "100 ms have not passed";
  Tick();
  const uint32_t next = KeyOf(Stage::kFeatures);
  EXPECT_NE(next, 0u);
  fleet->OnEnd(next, {1, 0});
  for (int i = 0; i < 4; ++i) Tick();
  EXPECT_EQ(KeyOf(Stage::kFeatures), 0u) << "the second wait is 200 ms or longer";
  Tick();
  Play();
  EXPECT_TRUE(fleet->Ready());
}

TEST_F(FleetTest, AProgramThatCannotBeRunIsTriedAgainLater) {
  Make();
  hands.spawn_fails = true;
  fleet->Start();
  EXPECT_EQ(hands.journal.size(), 1u);
  hands.spawn_fails = false;
  for (int i = 0; i < 4; ++i) Tick();
  Play();
  EXPECT_TRUE(fleet->Ready());
}

TEST_F(FleetTest, AWorkerThatCannotStartDoesNotKeepIngressAway) {
  Make();
  fleet->Start();
  Publish(KeyOf(Stage::kRegistry), 1);
  played = 1;
  for (int i = 0; i < 2; ++i) fleet->OnEnd(KeyOf(Stage::kAggregation), {1, 0});
  Play();
  EXPECT_NE(KeyOf(Stage::kIngress), 0u);
  EXPECT_FALSE(fleet->Ready());
}

TEST_F(FleetTest, IncarnationsAreNeverUsedTwice) {
  StartAll();
  std::set<uint32_t> seen;
  for (int round = 0; round < 20; ++round) {
    const uint32_t key = KeyOf(Stage::kIngress);
    for (uint32_t lane : lanes[key]) EXPECT_TRUE(seen.insert(lane).second);
    hands.looks[key].answered = true;
    fleet->OnEnd(key, {0, SIGKILL});
    Play();
  }
}

TEST_F(FleetTest, AHangIsReroutedThenAbortedThenKilled) {
  StartAll();
  const uint32_t hung = KeyOf(Stage::kExecution);
  Tick();
  silent.insert(hung);
  hands.journal.clear();
  for (int i = 0; i < 19; ++i) Tick();
  EXPECT_TRUE(hands.journal.empty()) << "silent for less than a second";
  Tick();
  EXPECT_EQ(hands.journal[0], "roster");
  EXPECT_EQ(hands.journal[1], "signal 6 " + std::to_string(hung));
  EXPECT_EQ(fleet->hangs(), 1u);
  hands.journal.clear();
  for (int i = 0; i < 3; ++i) Tick();
  EXPECT_EQ(
      std::count(hands.journal.begin(), hands.journal.end(), "signal 9 " + std::to_string(hung)),
      0);
  Tick();
  Tick();
  EXPECT_EQ(
      std::count(hands.journal.begin(), hands.journal.end(), "signal 9 " + std::to_string(hung)), 1)
      << "killed once";
}

TEST_F(FleetTest, AStoppedProcessIsKilledAtOnceAndALateSupervisorAccusesNobody) {
  StartAll();
  const uint32_t hung = KeyOf(Stage::kFeatures);
  hands.stopped.insert(hung);
  Tick();
  silent.insert(hung);
  hands.now_ns += 60 * kNanosPerSecond;  // the machine slept
  Tick();
  EXPECT_EQ(StateOf(hung), ProcessState::kReady);
  for (int i = 0; i < 20; ++i) Tick();
  EXPECT_EQ(StateOf(hung), ProcessState::kDying);
  EXPECT_EQ(
      std::count(hands.journal.begin(), hands.journal.end(), "signal 9 " + std::to_string(hung)),
      1);
}

TEST_F(FleetTest, ACatalogGoesLiveWhenEveryWorkerHasIt) {
  StartAll();
  const uint32_t slow = KeyOf(Stage::kExecution);
  mute.insert(slow);
  Publish(KeyOf(Stage::kRegistry), 2, 2);
  Play();
  EXPECT_EQ(fleet->live_generation(), 1u);
  EXPECT_EQ(CountTold(KeyOf(Stage::kIngress), ToProcess::kCatalogLive), 1u);
  FromProcess warm;
  warm.mutable_catalog_ready()->set_generation(2);
  Say(slow, warm);
  EXPECT_EQ(fleet->live_generation(), 2u);
  EXPECT_EQ(CountTold(KeyOf(Stage::kIngress), ToProcess::kCatalogLive), 2u);
}

TEST_F(FleetTest, AWorkerThatCannotTakeUpACatalogIsReplaced) {
  StartAll();
  const uint32_t bad = KeyOf(Stage::kExecution);
  mute.insert(bad);
  Publish(KeyOf(Stage::kRegistry), 2, 2);
  Play();
  FromProcess message;
  message.mutable_catalog_ready()->set_generation(2);
  message.mutable_catalog_ready()->set_error("no memory for the plan");
  hands.looks[bad].answered = true;
  Say(bad, message);
  EXPECT_EQ(StateOf(bad), ProcessState::kDying);
  Play();
  EXPECT_EQ(fleet->live_generation(), 2u) << "the next one took it up";
}

TEST_F(FleetTest, AWorkerThatIsSilentAboutACatalogIsReplacedInTime) {
  StartAll();
  const uint32_t slow = KeyOf(Stage::kFeatures);
  mute.insert(slow);
  Publish(KeyOf(Stage::kRegistry), 2, 2);
  Play();
  for (int i = 0; i < 61 * 20 && StateOf(slow) == ProcessState::kReady; ++i) Tick();
  EXPECT_EQ(StateOf(slow), ProcessState::kDying);
}

TEST_F(FleetTest, ARestartedRegistryGoesOnBeyondWhatWasSeen) {
  StartAll();
  Publish(KeyOf(Stage::kRegistry), 7, 40);
  Play();
  const uint32_t ingress = KeyOf(Stage::kIngress);
  fleet->OnEnd(KeyOf(Stage::kRegistry), {0, SIGKILL});
  const Told& told = hands.told.back();
  EXPECT_EQ(told.key, KeyOf(Stage::kRegistry));
  EXPECT_EQ(told.message.configure().first_route(), 41u);
  EXPECT_EQ(told.message.configure().first_generation(), 8u);
  Play();
  EXPECT_EQ(fleet->live_generation(), 8u);
  EXPECT_EQ(KeyOf(Stage::kIngress), ingress) << "nobody else was disturbed";
}

TEST_F(FleetTest, WhatDoesNotFitEndsItsSenderAlone) {
  StartAll();
  struct Case {
    const char* what;
    FromProcess message;
    size_t fds;
  };
  std::vector<Case> cases(6);
  cases[0].what = "announced twice";
  cases[0].message.mutable_announce();
  cases[1].what = "a half without a descriptor";
  cases[1].message.mutable_half();
  cases[2].what = "a catalog from a worker";
  cases[2].message.mutable_publish_catalog()->set_generation(9);
  cases[3].what = "a catalog that was never sent";
  cases[3].message.mutable_catalog_ready()->set_generation(99);
  cases[4].what = "no message";
  cases[5].what = "a half with two descriptors";
  cases[5].message.mutable_half();
  cases[5].fds = 2;
  for (const Case& c : cases) {
    const uint32_t key = KeyOf(Stage::kExecution);
    hands.looks[key].answered = true;
    Say(key, c.message, c.fds);
    EXPECT_EQ(StateOf(key), ProcessState::kDying) << c.what;
    fleet->OnEnd(key, {0, SIGKILL});
    Play();
    EXPECT_TRUE(fleet->Ready()) << c.what;
  }
}

TEST_F(FleetTest, ABadPageOrBadCatalogEndsItsSender) {
  StartAll();
  hands.page_is_bad = true;
  const uint32_t old = KeyOf(Stage::kFeatures);
  hands.looks[old].answered = true;
  fleet->OnEnd(old, {0, SIGKILL});
  const uint32_t key = KeyOf(Stage::kFeatures);
  Play();
  EXPECT_EQ(StateOf(key), ProcessState::kDying);
  EXPECT_EQ(hands.InRoster(key), nullptr);
  const uint32_t registry = KeyOf(Stage::kRegistry);
  Publish(registry, 1);  // not newer
  EXPECT_EQ(StateOf(registry), ProcessState::kDying);
  EXPECT_EQ(fleet->live_generation(), 1u);
}

TEST_F(FleetTest, AnAccusedPeerIsFencedAndAStrangerIsNot) {
  StartAll();
  FromProcess message;
  message.mutable_fault()->set_incarnation(KeyOf(Stage::kAggregation));
  message.mutable_fault()->set_reason("offset beyond the arena");
  Say(KeyOf(Stage::kFeatures), message);
  EXPECT_EQ(StateOf(KeyOf(Stage::kAggregation)), ProcessState::kReady) << "they share no link";
  const uint32_t accused = KeyOf(Stage::kAggregation);
  Say(KeyOf(Stage::kExecution), message);
  EXPECT_EQ(StateOf(accused), ProcessState::kDying);
  EXPECT_EQ(fleet->faults(), 2u);
}

TEST_F(FleetTest, OneThatDoesNotReadIsEndedNotWaitedFor) {
  StartAll();
  const uint32_t deaf = KeyOf(Stage::kExecution);
  hands.full.insert(deaf);
  Publish(KeyOf(Stage::kRegistry), 2, 2);
  EXPECT_EQ(StateOf(deaf), ProcessState::kDying);
}

TEST_F(FleetTest, AFinalExitCodeBeforeTheServerWasReadyEndsIt) {
  Make();
  fleet->Start();
  fleet->OnEnd(KeyOf(Stage::kRegistry), {67, 0});
  EXPECT_EQ(fleet->phase(), FleetPhase::kDone);
  EXPECT_EQ(fleet->exit_code(), 67);
}

TEST_F(FleetTest, TheSameCodeLaterIsADeathLikeAnother) {
  StartAll();
  fleet->OnEnd(KeyOf(Stage::kRegistry), {67, 0});
  EXPECT_EQ(fleet->phase(), FleetPhase::kRunning);
}

// Requests still go by the catalog before until the newest is live, and those in flight longer: a
// worker that knows the newest alone would refuse them all.
TEST_F(FleetTest, AProcessThatComesNewIsToldOfTheCatalogBeforeToo) {
  StartAll();
  Publish(KeyOf(Stage::kRegistry), 2, 2);
  Play();
  hands.looks[KeyOf(Stage::kExecution)].answered = true;  // the next one starts at once
  fleet->OnEnd(KeyOf(Stage::kExecution), {0, SIGKILL});
  Play();
  std::vector<uint64_t> told_of;
  for (const Told& told : hands.told) {
    if (told.key == KeyOf(Stage::kExecution) && told.message.has_catalog()) {
      told_of.push_back(told.message.catalog().generation());
      EXPECT_EQ(told.fds, 2u);  // its plan, too
    }
  }
  EXPECT_EQ(told_of, (std::vector<uint64_t>{1, 2}));
  EXPECT_TRUE(fleet->Ready());
}

}  // namespace
}  // namespace millrace
