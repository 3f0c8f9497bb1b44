// The fleet's decisions when it takes over from a supervisor that was killed.
#include <signal.h>

#include <algorithm>
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
  // The registry says again what it published last; a second time it would be a fault.
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
  hands.journal.clear();
  hands.journal_stores = true;
  const uint32_t last = KeyOf(Stage::kExecution, 1);
  ASSERT_TRUE(fleet->Scale(Stage::kExecution, 1).ok());
  const auto at = [&](const std::string& what) {
    return std::find(hands.journal.begin(), hands.journal.end(), what) - hands.journal.begin();
  };
  EXPECT_LT(at("store"), at("roster"));
  EXPECT_LT(at("store"), at("drain " + std::to_string(last)));
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
