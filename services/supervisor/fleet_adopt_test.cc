// The fleet's decisions when it takes over from a supervisor that was killed.
#include <signal.h>

#include <algorithm>
#include <optional>
#include <string>

#include "gtest/gtest.h"
#include "services/supervisor/fleet_fake.h"

namespace millrace {
namespace {

class FleetAdoptTest : public FleetTest {
 protected:
  // The supervisor is gone; another one finds what was stored.
  void TakeOver() {
    FleetState state;
    ASSERT_TRUE(state.ParseFromString(hands.state));
    hands.journal.clear();
    hands.roster.clear();
    mark = played = hands.told.size();
    Make(config);
    fleet->Adopt(state);
  }

  size_t ToldSince(uint32_t key, ToProcess::MessageCase kind) const {
    size_t count = 0;
    for (size_t i = mark; i < hands.told.size(); ++i) {
      count += hands.told[i].key == key && hands.told[i].message.message_case() == kind;
    }
    return count;
  }

  bool Did(const std::string& what) const {
    return std::count(hands.journal.begin(), hands.journal.end(), what) > 0;
  }

  // What was stored of a process when the roster first said that of it.
  std::optional<ProcessState> StoredWhenTheRosterSaid(uint32_t key, RosterState said) const {
    for (const auto& [roster, bytes] : hands.rosters_with_state) {
      for (const RosterEntry& entry : roster) {
        if (entry.incarnation != key || entry.state != said) continue;
        FleetState state;
        EXPECT_TRUE(state.ParseFromString(bytes));
        for (const ProcessRecord& record : state.processes()) {
          if (record.key() == key) return static_cast<ProcessState>(record.state());
        }
        return std::nullopt;
      }
    }
    return std::nullopt;
  }

  Config config;
  size_t mark = 0;
};

constexpr Stage kStages[] = {Stage::kRegistry, Stage::kIngress, Stage::kFeatures, Stage::kExecution,
                             Stage::kAggregation};

TEST_F(FleetAdoptTest, EveryReadyProcessGoesOnAndReadsTheNewRoster) {
  StartAll();
  const std::vector<RosterEntry> before = hands.roster;
  std::map<Stage, uint32_t> keys;
  for (Stage stage : kStages) keys[stage] = KeyOf(stage);
  TakeOver();
  Play();
  EXPECT_EQ(hands.roster, before);
  EXPECT_TRUE(fleet->Ready());
  EXPECT_EQ(fleet->deaths(), 0u);
  for (Stage stage : kStages) {
    EXPECT_EQ(KeyOf(stage), keys[stage]);
    EXPECT_EQ(ToldSince(keys[stage], ToProcess::kAdopted), 1u);
    EXPECT_EQ(ToldSince(keys[stage], ToProcess::kPeer), 0u) << "its links stand";
    EXPECT_FALSE(Did("spawn " + ProcessName(stage, 0)));
  }
  // And scaling links the newcomer with the adopted.
  ASSERT_TRUE(fleet->Scale(Stage::kExecution, 2).ok());
  Play();
  ASSERT_NE(KeyOf(Stage::kExecution, 1), 0u);
  EXPECT_EQ(StateOf(KeyOf(Stage::kExecution, 1)), ProcessState::kReady);
  EXPECT_EQ(ToldSince(keys[Stage::kIngress], ToProcess::kPeer), 1u);
}

TEST_F(FleetAdoptTest, TheRosterIsPublishedBeforeAnybodyIsToldOfIt) {
  StartAll();
  TakeOver();
  const auto roster = std::find(hands.journal.begin(), hands.journal.end(), "roster");
  ASSERT_NE(roster, hands.journal.end());
  EXPECT_EQ(hands.roster.size(), 5u);
}

TEST_F(FleetAdoptTest, OneThatWasNotUpIsStartedAnewAndItsPeersHearOfItsEnd) {
  Make();
  fleet->Start();
  Play();
  ASSERT_TRUE(fleet->Scale(Stage::kExecution, 2).ok());
  const uint32_t young = KeyOf(Stage::kExecution, 1), ingress = KeyOf(Stage::kIngress);
  ASSERT_NE(young, 0u);
  TakeOver();
  EXPECT_TRUE(Did("signal 9 " + std::to_string(young)));
  fleet->OnEnd(young, {-1, 0});
  EXPECT_EQ(ToldSince(ingress, ToProcess::kPeerGone), 1u);
  hands.now_ns += 10 * kNanosPerSecond;
  fleet->Tick();
  Play();
  EXPECT_NE(KeyOf(Stage::kExecution, 1), young);
  EXPECT_EQ(StateOf(KeyOf(Stage::kExecution, 1)), ProcessState::kReady);
}

TEST_F(FleetAdoptTest, OneWithoutItsDescriptorsOrMemoryIsReplacedAlone) {
  StartAll();
  const uint32_t features = KeyOf(Stage::kFeatures), execution = KeyOf(Stage::kExecution);
  const uint32_t ingress = KeyOf(Stage::kIngress);
  hands.alive.erase(features);
  hands.DropStored("process/" + std::to_string(execution) + "/");
  TakeOver();
  EXPECT_TRUE(Did("spawn features0"));
  EXPECT_TRUE(Did("signal 9 " + std::to_string(execution)));
  EXPECT_EQ(hands.InRoster(features), nullptr);
  EXPECT_EQ(hands.InRoster(execution), nullptr);
  EXPECT_NE(hands.InRoster(ingress), nullptr);
  EXPECT_EQ(ToldSince(ingress, ToProcess::kPeerGone), 1u) << "of features, which is gone";
  EXPECT_EQ(KeyOf(Stage::kIngress), ingress);
}

TEST_F(FleetAdoptTest, ACatalogWhoseReadinessWasLostIsSentAgain) {
  StartAll();
  const uint32_t execution = KeyOf(Stage::kExecution), features = KeyOf(Stage::kFeatures);
  mute.insert(execution);
  Publish(KeyOf(Stage::kRegistry), 2);
  Play();
  TakeOver();
  EXPECT_EQ(ToldSince(execution, ToProcess::kCatalog), 1u);
  EXPECT_EQ(ToldSince(features, ToProcess::kCatalog), 0u);
  mute.clear();
  Play();
  EXPECT_EQ(fleet->live_generation(), 2u);
  // The registry says again what it published last, to each supervisor; the one between may have
  // been killed before it read it.
  Publish(KeyOf(Stage::kRegistry), 2);
  Publish(KeyOf(Stage::kRegistry), 2);
  EXPECT_EQ(StateOf(KeyOf(Stage::kRegistry)), ProcessState::kReady);
}

TEST_F(FleetAdoptTest, OneThatLeavesIsToldAgainAndEnds) {
  StartAll();
  ASSERT_TRUE(fleet->Scale(Stage::kExecution, 2).ok());
  Play();
  const uint32_t last = KeyOf(Stage::kExecution, 1);
  mute.insert(last);
  ASSERT_TRUE(fleet->Scale(Stage::kExecution, 1).ok());
  TakeOver();
  EXPECT_EQ(StateOf(last), ProcessState::kLeaving);
  EXPECT_EQ(ToldSince(last, ToProcess::kDrain), 1u);
  mute.clear();
  Play();
  EXPECT_EQ(fleet->slots().count({Stage::kExecution, 1}), 0u);
  EXPECT_EQ(fleet->deaths(), 0u);
}

TEST_F(FleetAdoptTest, LeavingAndReadinessAreStoredBeforeTheyAreTrue) {
  StartAll();
  ASSERT_TRUE(fleet->Scale(Stage::kExecution, 2).ok());
  Play();
  const uint32_t last = KeyOf(Stage::kExecution, 1);
  ASSERT_EQ(StateOf(last), ProcessState::kReady);
  EXPECT_EQ(StoredWhenTheRosterSaid(last, RosterState::kReady), ProcessState::kReady);
  mute.insert(last);
  hands.journal.clear();
  hands.journal_stores = true;
  ASSERT_TRUE(fleet->Scale(Stage::kExecution, 1).ok());
  EXPECT_EQ(StoredWhenTheRosterSaid(last, RosterState::kLeaving), ProcessState::kLeaving);
  const auto at = [&](const std::string& what) {
    return std::find(hands.journal.begin(), hands.journal.end(), what) - hands.journal.begin();
  };
  EXPECT_LT(at("store"), at("roster"));
  EXPECT_LT(at("store"), at("drain " + std::to_string(last)));
}

// Else one that every lane has given up would go on as if it were whole.
TEST_F(FleetAdoptTest, ThatOneWasGivenUpIsStoredBeforeTheRosterTellsIt) {
  StartAll();
  const uint32_t features = KeyOf(Stage::kFeatures);
  hands.journal.clear();
  hands.journal_stores = true;
  fleet->OnBrokenChannel(features, "sent nonsense");
  const auto at = [&](const std::string& what) {
    return std::find(hands.journal.begin(), hands.journal.end(), what) - hands.journal.begin();
  };
  EXPECT_LT(at("store"), at("roster"));
  EXPECT_LT(at("roster"), at("signal 9 " + std::to_string(features)));
  TakeOver();
  EXPECT_EQ(StateOf(features), ProcessState::kDying);
  EXPECT_TRUE(Did("signal 9 " + std::to_string(features))) << "it may not have come to that";
}

// The links between adopted processes are known: a death is told to both sides, and an accusation
// by one that is linked is heard.
TEST_F(FleetAdoptTest, TheEndOfAnAdoptedOneIsToldToAllThatWereLinkedWithIt) {
  StartAll();
  const uint32_t ingress = KeyOf(Stage::kIngress), features = KeyOf(Stage::kFeatures);
  const uint32_t execution = KeyOf(Stage::kExecution), aggregation = KeyOf(Stage::kAggregation);
  TakeOver();
  hands.looks[execution].answered = true;  // and so is replaced at once
  fleet->OnDeath(execution, hands.now_ns);
  fleet->OnEnd(execution, {0, SIGKILL});
  for (uint32_t peer : {ingress, features, aggregation}) {
    EXPECT_EQ(ToldSince(peer, ToProcess::kPeerGone), 1u) << peer;
  }
  Play();
  EXPECT_EQ(StateOf(KeyOf(Stage::kExecution)), ProcessState::kReady);
  FromProcess fault;
  fault.mutable_fault()->set_incarnation(features);
  fault.mutable_fault()->set_reason("its slots are out of order");
  Say(ingress, fault);
  EXPECT_EQ(StateOf(features), ProcessState::kDying);
}

TEST_F(FleetAdoptTest, IngressIsToldOfEveryBreakerAgain) {
  Config config;
  config.storm_intensity = 1;
  config.storm_rest_ms = 3'600'000;
  StartAll(config);
  this->config = config;
  const uint32_t dead = KeyOf(Stage::kExecution), ingress = KeyOf(Stage::kIngress);
  fleet->OnDeath(dead, hands.now_ns);
  fleet->OnEnd(dead, {0, SIGSEGV});
  hands.now_ns += kNanosPerSecond;
  fleet->Tick();
  Play();
  ASSERT_EQ(StateOf(KeyOf(Stage::kExecution)), ProcessState::kReady);
  TakeOver();
  const auto told = [&] {
    std::map<uint32_t, uint32_t> states;
    for (size_t i = mark; i < hands.told.size(); ++i) {
      const ToProcess& message = hands.told[i].message;
      if (hands.told[i].key != ingress || !message.has_stage_breaker()) continue;
      states[message.stage_breaker().stage()] = message.stage_breaker().state();
    }
    return states;
  };
  const std::map<uint32_t, uint32_t> expected = {{static_cast<uint32_t>(Stage::kFeatures), 0},
                                                 {static_cast<uint32_t>(Stage::kExecution), 1},
                                                 {static_cast<uint32_t>(Stage::kAggregation), 0}};
  EXPECT_EQ(told(), expected);
  // And it closes as it would have.
  hands.looks[KeyOf(Stage::kExecution)].answered = true;
  Tick();
  EXPECT_EQ(told().at(static_cast<uint32_t>(Stage::kExecution)), 0u);
  // One that nobody stored as open is closed, whatever ingress was told last.
  TakeOver();
  EXPECT_EQ(told().at(static_cast<uint32_t>(Stage::kExecution)), 0u);
}

// Two processes of ingress, and the supervisor is killed between the two orders.
TEST_F(FleetAdoptTest, ADrainThatWasHalfToldIsToldToAll) {
  config.ingress_workers = 2;
  StartAll(config);
  const uint32_t first = KeyOf(Stage::kIngress, 0), second = KeyOf(Stage::kIngress, 1);
  mute = {first, second};
  hands.states_kept.clear();
  fleet->Stop();
  for (const std::string& bytes : hands.states_kept) {
    FleetState state;
    ASSERT_TRUE(state.ParseFromString(bytes));
    size_t leaving = 0;
    for (const ProcessRecord& record : state.processes()) {
      leaving += record.state() == static_cast<uint32_t>(ProcessState::kLeaving);
    }
    if (leaving == 1) hands.state = bytes;
  }
  TakeOver();
  EXPECT_EQ(fleet->phase(), FleetPhase::kDraining);
  EXPECT_EQ(StateOf(first), ProcessState::kLeaving);
  EXPECT_EQ(StateOf(second), ProcessState::kLeaving);
  EXPECT_EQ(ToldSince(second, ToProcess::kDrain), 1u);
  EXPECT_EQ(ToldSince(second, ToProcess::kStop), 0u);
}

TEST_F(FleetAdoptTest, AStopThatHadBegunIsBroughtToItsEnd) {
  StartAll();
  mute.insert(KeyOf(Stage::kIngress));
  fleet->Stop();
  TakeOver();
  EXPECT_EQ(fleet->phase(), FleetPhase::kDraining);
  mute.clear();
  Play();
  EXPECT_EQ(fleet->phase(), FleetPhase::kDone);
}

}  // namespace
}  // namespace millrace
