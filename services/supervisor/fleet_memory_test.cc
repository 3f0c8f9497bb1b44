// Memory of models: workers let go of what is settled, and the registry is told what is used.
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "ipc/stats.h"
#include "services/supervisor/fleet_fake.h"

namespace millrace {
namespace {

class FleetMemoryTest : public FleetTest {
 protected:
  static Config Budget() {
    Config config;
    config.execution_budget_mb = 1;
    config.over_budget = "evict_idle";
    return config;
  }
  // The generation that a process was told is settled (ingress: live) last; 0: none.
  uint64_t ToldLive(uint32_t key) const {
    uint64_t generation = 0;
    for (const Told& told : hands.told) {
      if (told.key == key && told.message.has_catalog_live()) {
        generation = told.message.catalog_live().generation();
      }
    }
    return generation;
  }
  const ModelUse* LastUse() const {
    const ModelUse* last = nullptr;
    for (const Told& told : hands.told) {
      if (told.message.has_model_use()) last = &told.message.model_use();
    }
    return last;
  }
  void InFlight(uint64_t generation) {
    for (uint32_t lane : lanes[KeyOf(Stage::kIngress)]) {
      hands.looks[lane].oldest_catalog = generation;
    }
  }
  int64_t IdleMs(const std::string& model) const {
    const ModelUse* use = LastUse();
    for (int i = 0; use != nullptr && i < use->versions_size(); ++i) {
      if (use->versions(i).model() == model) return use->versions(i).idle_ms();
    }
    return -1;
  }
};

TEST_F(FleetMemoryTest, WorkersLetGoOfOlderCatalogsOnceNoRequestGoesByThem) {
  StartAll();
  const uint32_t execution = KeyOf(Stage::kExecution);
  EXPECT_EQ(ToldLive(execution), 1u);
  InFlight(1);
  Publish(KeyOf(Stage::kRegistry), 2, 2);
  Play();
  EXPECT_EQ(fleet->live_generation(), 2u);
  for (int i = 0; i < 5; ++i) Tick();
  EXPECT_EQ(ToldLive(execution), 1u) << "a request that began before it is in flight";
  InFlight(2);
  Tick();
  EXPECT_EQ(ToldLive(execution), 2u);
  const size_t told = CountTold(execution, ToProcess::kCatalogLive);
  for (int i = 0; i < 30; ++i) Tick();
  EXPECT_EQ(CountTold(execution, ToProcess::kCatalogLive), told) << "once";
  // One that comes new was sent the older one, too.
  fleet->OnDeath(execution, hands.now_ns);
  fleet->OnEnd(execution, {0, 9});
  Play();
  for (int i = 0; i < 5; ++i) Tick();
  EXPECT_EQ(ToldLive(KeyOf(Stage::kExecution)), 2u);
}

TEST_F(FleetMemoryTest, TheRegistryIsToldWhatIsSettledBeforeItIsToldToLoad) {
  StartAll(Budget());
  ASSERT_NE(LastUse(), nullptr);
  EXPECT_EQ(LastUse()->settled_generation(), 1u);
  InFlight(1);
  Publish(KeyOf(Stage::kRegistry), 2, 2);
  Play();
  FromProcess message;
  message.mutable_change_model()->set_request(1);
  message.mutable_change_model()->set_load(true);
  message.mutable_change_model()->set_model("m");
  Say(KeyOf(Stage::kIngress), message);
  for (int i = 0; i < 25; ++i) Tick();
  EXPECT_EQ(LastUse()->settled_generation(), 1u);
  InFlight(2);
  Tick();
  uint64_t known = 0;
  bool asked = false;
  for (const Told& told : hands.told) {
    if (told.message.has_model_use()) known = told.message.model_use().settled_generation();
    if (!told.message.has_change_model()) continue;
    asked = true;
    EXPECT_EQ(known, 2u);
  }
  EXPECT_TRUE(asked);
}

TEST_F(FleetMemoryTest, WithoutABudgetNobodyIsToldOfUse) {
  StartAll();
  for (int i = 0; i < 45; ++i) Tick();
  EXPECT_EQ(LastUse(), nullptr);
}

TEST(IdleWatchTest, AVersionIsIdleSinceItsLastRequestByAClient) {
  Catalog catalog;
  for (const char* name : {"asked", "not_asked"}) {
    catalog.add_models()->set_name(name);
    catalog.mutable_models()->rbegin()->set_version("1");
  }
  auto page = std::make_unique<Page>(), other = std::make_unique<Page>();
  StatsWriter writer(&page->stats), second(&other->stats);
  for (StatsWriter* one : {&writer, &second}) {
    one->Name(1, "asked", "1");
    one->Name(2, "not_asked", "1");
  }
  const std::vector<const Page*> both = {page.get(), other.get()};
  StatsCarry carry;
  IdleWatch watch;
  const auto idle = [&](int64_t now_ms, const std::string& name) -> int64_t {
    ModelUse use;
    watch.AddTo(&use, now_ms * kNanosPerMilli);
    for (const ModelUse::Version& version : use.versions()) {
      if (version.model() == name) return version.idle_ms();
    }
    return -1;
  };
  const auto look = [&](int64_t now_ms, std::vector<const Page*> pages) {
    watch.Look(catalog, carry, pages, now_ms * kNanosPerMilli);
  };
  look(1000, both);
  EXPECT_EQ(idle(1500, "asked"), 500) << "nothing is known of the time before";
  second.Of(1).Code(3);  // a refusal is a request, too
  writer.Of(2).Add(StatsSum::kShadowed, 1);
  look(3000, both);
  EXPECT_EQ(idle(3000, "asked"), 0);
  EXPECT_EQ(idle(3000, "not_asked"), 2000);
  // A lane that ended is carried over: nothing was asked by it since.
  ASSERT_TRUE(carry.Add(Stage::kIngress, 0, 7, *other));
  look(4000, {page.get()});
  EXPECT_EQ(idle(4000, "asked"), 1000);
  // A version that is gone is forgotten.
  catalog.mutable_models()->RemoveLast();
  look(5000, {page.get()});
  EXPECT_EQ(idle(5000, "not_asked"), -1);
}

TEST(IdleWatchTest, WhatIsCountedWithoutItsNameIsNotSaidToBeIdle) {
  auto page = std::make_unique<Page>();
  StatsWriter writer(&page->stats);
  for (uint32_t i = 1; i < kMaxStatsModels; ++i) writer.Name(i, "m" + std::to_string(i), "1");
  writer.Name(500, "too_many", "1");
  Catalog catalog;
  for (const char* name : {"m5", "too_many"}) {
    catalog.add_models()->set_name(name);
    catalog.mutable_models()->rbegin()->set_version("1");
  }
  IdleWatch watch;
  const std::vector<const Page*> pages = {page.get()};
  watch.Look(catalog, StatsCarry(), pages, 0);
  ModelUse use;
  watch.AddTo(&use, kNanosPerSecond);
  ASSERT_EQ(use.versions_size(), 1);
  EXPECT_EQ(use.versions(0).model(), "m5");
}

}  // namespace
}  // namespace millrace
