// Models loaded and unloaded: one change after the other, each answered when it is live everywhere.
#include "gtest/gtest.h"
#include "services/supervisor/fleet_fake.h"

namespace millrace {
namespace {

class FleetChangesTest : public FleetTest {
 protected:
  void SetUp() override {
    StartAll();
    ingress_ = KeyOf(Stage::kIngress);
    registry_ = KeyOf(Stage::kRegistry);
  }
  void AskFor(uint64_t request, const std::string& model) {
    FromProcess message;
    message.mutable_change_model()->set_request(request);
    message.mutable_change_model()->set_load(true);
    message.mutable_change_model()->set_model(model);
    Say(ingress_, message);
  }
  // The changes that the registry was told, by their models.
  std::vector<std::string> ToldToRegistry() {
    std::vector<std::string> models;
    for (const Told& told : hands.told) {
      if (!told.message.has_change_model()) continue;
      EXPECT_EQ(told.key, registry_);
      models.push_back(told.message.change_model().model());
      last_number_ = told.message.change_model().request();
    }
    return models;
  }
  void RegistryAnswers(int code, uint64_t generation) {
    ToldToRegistry();
    FromProcess message;
    message.mutable_model_changed()->set_request(last_number_);
    message.mutable_model_changed()->set_code(code);
    message.mutable_model_changed()->set_message(code == 0 ? "" : "why");
    message.mutable_model_changed()->set_generation(generation);
    Say(registry_, message);
  }
  // Request and code of each answer that ingress was told.
  std::vector<std::pair<uint64_t, int>> Answers() const {
    std::vector<std::pair<uint64_t, int>> answers;
    for (const Told& told : hands.told) {
      if (!told.message.has_model_changed()) continue;
      EXPECT_EQ(told.key, ingress_);
      answers.emplace_back(told.message.model_changed().request(),
                           told.message.model_changed().code());
    }
    return answers;
  }
  using Outcomes = std::vector<std::pair<uint64_t, int>>;
  using Names = std::vector<std::string>;

  uint32_t ingress_ = 0, registry_ = 0;
  uint64_t last_number_ = 0;
};

TEST_F(FleetChangesTest, AChangeIsAnsweredWhenItsCatalogIsLive) {
  AskFor(70, "m");
  ASSERT_EQ(ToldToRegistry(), Names{"m"});
  mute.insert(KeyOf(Stage::kExecution));
  Publish(registry_, 2, 9);
  RegistryAnswers(0, 2);
  Play();
  EXPECT_EQ(Answers(), Outcomes()) << "execution has not taken it up";
  mute.clear();
  FromProcess warm;
  warm.mutable_catalog_ready()->set_generation(2);
  Say(KeyOf(Stage::kExecution), warm);
  EXPECT_EQ(fleet->live_generation(), 2u);
  EXPECT_EQ(Answers(), (Outcomes{{70, 0}}));
  // Ingress hears that the catalog is live before it hears that the change is done.
  size_t live = 0, done = 0;
  for (size_t i = 0; i < hands.told.size(); ++i) {
    if (hands.told[i].message.has_catalog_live()) live = i;
    if (hands.told[i].message.has_model_changed()) done = i;
  }
  EXPECT_LT(live, done);
}

TEST_F(FleetChangesTest, WhatTheRegistryRefusesIsAnsweredWithItsReason) {
  AskFor(1, "m");
  RegistryAnswers(5, 0);
  EXPECT_EQ(Answers(), (Outcomes{{1, 5}}));
  EXPECT_EQ(hands.told.back().message.model_changed().message(), "why");
  EXPECT_EQ(fleet->live_generation(), 1u);
}

// Workers keep two catalogs: while a request of the one before is in flight, there is no third.
TEST_F(FleetChangesTest, TheNextChangeWaitsForRequestsOfTheOldCatalog) {
  AskFor(1, "a");
  AskFor(2, "b");
  EXPECT_EQ(ToldToRegistry(), Names{"a"}) << "one at a time";
  for (uint32_t lane : lanes[ingress_]) hands.looks[lane].oldest_catalog = 1;
  Publish(registry_, 2, 9);
  RegistryAnswers(0, 2);
  Play();
  EXPECT_EQ(Answers(), (Outcomes{{1, 0}}));
  Tick();
  EXPECT_EQ(ToldToRegistry(), Names{"a"}) << "a request of generation 1 is in flight";
  for (uint32_t lane : lanes[ingress_]) hands.looks[lane].oldest_catalog = 2;
  Tick();
  EXPECT_EQ(ToldToRegistry(), (Names{"a", "b"}));
}

TEST_F(FleetChangesTest, AChangeThatIsNotLiveInTimeIsAnsweredAllTheSame) {
  AskFor(1, "m");
  AskFor(2, "n");
  hands.now_ns += 200 * kNanosPerSecond;
  Tick();
  EXPECT_EQ(Answers(), (Outcomes{{1, 4}, {2, 4}}));
  RegistryAnswers(5, 0);
  EXPECT_EQ(Answers().size(), 2u) << "nobody waits any more";
}

TEST_F(FleetChangesTest, ARegistryThatDiesAnswersNobodyAndTheNextOneKnowsWhatIsUnloaded) {
  AskFor(1, "m");
  Catalog catalog;
  catalog.set_generation(2);
  catalog.add_unloaded("gone");
  const std::string bytes = catalog.SerializeAsString();
  std::vector<Fd> fds;
  fds.push_back(std::move(*MakeSealedCopy("catalog", bytes.data(), bytes.size())));
  FromProcess message;
  message.mutable_publish_catalog()->set_generation(2);
  fleet->OnMessage(registry_, message, std::move(fds));
  fleet->OnEnd(registry_, {0, 9});
  EXPECT_EQ(Answers(), (Outcomes{{1, 14}}));
  Play();
  const uint32_t next = KeyOf(Stage::kRegistry);
  for (const Told& told : hands.told) {
    if (told.key != next || !told.message.has_configure()) continue;
    ASSERT_EQ(told.message.configure().unloaded_size(), 1);
    EXPECT_EQ(told.message.configure().unloaded(0), "gone");
  }
}

TEST_F(FleetChangesTest, TooManyAreRefusedAndSoIsOneWhileTheServerStops) {
  for (uint64_t i = 1; i <= 17; ++i) AskFor(i, "m");
  EXPECT_EQ(Answers(), (Outcomes{{17, 14}}));
  fleet->Stop();
  EXPECT_EQ(Answers().size(), 17u);
}

TEST_F(FleetChangesTest, OnlyIngressAsksAndOnlyTheRegistryAnswers) {
  FromProcess ask, answer;
  ask.mutable_change_model()->set_model("m");
  answer.mutable_model_changed()->set_request(1);
  const uint32_t features = KeyOf(Stage::kFeatures), execution = KeyOf(Stage::kExecution);
  Say(features, ask);
  EXPECT_EQ(StateOf(features), ProcessState::kDying);
  Say(execution, answer);
  EXPECT_EQ(StateOf(execution), ProcessState::kDying);
  EXPECT_EQ(ToldToRegistry(), Names());
}

class FleetCatalogsTest : public FleetChangesTest {
 protected:
  // Generations of the catalogs that a process was sent.
  std::vector<uint64_t> SentTo(uint32_t key) const {
    std::vector<uint64_t> generations;
    for (const Told& told : hands.told) {
      if (told.key == key && told.message.has_catalog()) {
        generations.push_back(told.message.catalog().generation());
      }
    }
    return generations;
  }
  void TakesUp(uint32_t key, uint64_t generation, const std::string& error = "") {
    FromProcess message;
    message.mutable_catalog_ready()->set_generation(generation);
    message.mutable_catalog_ready()->set_error(error);
    Say(key, message);
    Play();
  }
  // Execution does not answer 2, and 3 waits behind it.
  void PublishTwo() {
    mute.insert(KeyOf(Stage::kExecution));
    Publish(registry_, 2, 9);
    Publish(registry_, 3, 10);
    Play();
  }
  using Generations = std::vector<uint64_t>;
};

// Workers keep two: a third one would cost them the one that requests go by.
TEST_F(FleetCatalogsTest, ACatalogWaitsUntilTheOneBeforeIsLive) {
  const uint32_t execution = KeyOf(Stage::kExecution), features = KeyOf(Stage::kFeatures);
  PublishTwo();
  EXPECT_EQ(SentTo(features), (Generations{1, 2})) << "2 is not live";
  Publish(registry_, 4, 11);
  Play();
  EXPECT_EQ(SentTo(features), (Generations{1, 2}));
  EXPECT_EQ(fleet->live_generation(), 1u);
  mute.clear();
  TakesUp(execution, 2);
  EXPECT_EQ(SentTo(features), (Generations{1, 2, 4})) << "4 says all that 3 said";
  EXPECT_EQ(fleet->live_generation(), 4u);
}

TEST_F(FleetCatalogsTest, ACatalogWaitsForRequestsOfTheOneBeforeTheLive) {
  const uint32_t features = KeyOf(Stage::kFeatures);
  for (uint32_t lane : lanes[ingress_]) hands.looks[lane].oldest_catalog = 1;
  Publish(registry_, 2, 9);
  Play();
  Publish(registry_, 3, 10);
  AskFor(1, "m");
  Tick();
  EXPECT_EQ(fleet->live_generation(), 2u);
  EXPECT_EQ(SentTo(features), (Generations{1, 2})) << "a request of generation 1 is in flight";
  for (uint32_t lane : lanes[ingress_]) hands.looks[lane].oldest_catalog = 2;
  Tick();
  EXPECT_EQ(SentTo(features), (Generations{1, 2, 3}));
  EXPECT_EQ(ToldToRegistry(), Names()) << "a change waits behind it";
  for (uint32_t lane : lanes[ingress_]) hands.looks[lane].oldest_catalog = 3;
  Play();
  EXPECT_EQ(ToldToRegistry(), Names{"m"});
}

// Else a catalog that no worker can take up could never be mended.
TEST_F(FleetCatalogsTest, ACatalogThatFailedIsFollowedAndTheLiveOneIsKept) {
  const uint32_t execution = KeyOf(Stage::kExecution), features = KeyOf(Stage::kFeatures);
  PublishTwo();
  EXPECT_EQ(fleet->catalog().newest().generation, 2u);
  TakesUp(execution, 2, "it does not fit");
  EXPECT_EQ(SentTo(features), (Generations{1, 2, 3}));
  fleet->OnEnd(execution, {0, 9});
  for (int i = 0; i < 10; ++i) {  // its back-off
    Play();
    Tick();
  }
  EXPECT_EQ(SentTo(KeyOf(Stage::kExecution)), (Generations{1, 3})) << "requests go by 1 until then";
  EXPECT_EQ(fleet->live_generation(), 3u);
}

TEST_F(FleetCatalogsTest, ACatalogThatIsNotLiveInTimeIsFollowed) {
  const uint32_t features = KeyOf(Stage::kFeatures);
  PublishTwo();
  hands.now_ns += Fleet::kCatalogLimitNs;
  fleet->Tick();
  EXPECT_EQ(SentTo(features), (Generations{1, 2}));
  Tick();
  EXPECT_EQ(SentTo(features), (Generations{1, 2, 3}));
}

TEST_F(FleetCatalogsTest, ARegistryThatIsStartedAgainGoesOnBehindWhatWaits) {
  PublishTwo();
  fleet->OnEnd(registry_, {0, 9});
  Tick();
  const uint32_t next = KeyOf(Stage::kRegistry);
  mute.insert(next);
  Play();
  for (const Told& told : hands.told) {
    if (told.key != next || !told.message.has_configure()) continue;
    EXPECT_EQ(told.message.configure().first_generation(), 4u);
    EXPECT_EQ(told.message.configure().first_route(), 11u);
  }
  Publish(next, 3, 12);
  EXPECT_EQ(StateOf(next), ProcessState::kDying) << "3 was said already";
}

}  // namespace
}  // namespace millrace
