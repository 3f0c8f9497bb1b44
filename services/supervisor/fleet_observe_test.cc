// What the observer is told, and that sums outlive whoever dies, the supervisor too.
#include <signal.h>

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "ipc/memfd.h"
#include "ipc/stats.h"
#include "services/supervisor/fleet_fake.h"

namespace millrace {
namespace {

class FleetObserveTest : public FleetTest {
 protected:
  FleetObserveTest() { with_observer = true; }

  // A page of a process, which has counted so much.
  void Count(uint32_t key, uint64_t taken) {
    for (uint32_t incarnation : lanes[key]) {
      auto& page = pages_[incarnation];
      if (page == nullptr) page = std::make_unique<Page>();
      page->Add(Counter::kTaken, taken);
      hands.pages[incarnation] = page.get();
    }
  }

  const ToProcess* LastObserve() const {
    const ToProcess* last = nullptr;
    for (const Told& told : hands.told) {
      if (told.key == KeyOf(Stage::kObserver) && told.message.has_observe()) last = &told.message;
    }
    return last;
  }

  // What the stored sums say of a place; -1: there are none.
  int64_t Carried(Stage stage, Counter counter = Counter::kTaken) const {
    const auto stored = hands.stored.find("sums");
    if (stored == hands.stored.end()) return -1;
    const auto map = MapImmutable(stored->second->get(), 1 << 20);
    StatsSums sums;
    EXPECT_TRUE(map.ok() &&
                sums.ParseFromArray(map->get_address(), static_cast<int>(map->get_size())));
    for (const ProcessSums& one : sums.processes()) {
      if (one.stage() != static_cast<uint32_t>(stage) || one.counters_size() == 0) continue;
      return static_cast<int64_t>(one.counters(static_cast<int>(counter)));
    }
    return 0;
  }

  void TakeOver() {
    FleetState state;
    ASSERT_TRUE(state.ParseFromString(hands.state));
    played = hands.told.size();
    Make();
    fleet->Adopt(state);
    Play();
  }

  std::map<uint32_t, std::unique_ptr<Page>> pages_;
};

TEST_F(FleetObserveTest, TheObserverIsToldOfEveryPage) {
  StartAll();
  const ToProcess* observe = LastObserve();
  ASSERT_NE(observe, nullptr);
  EXPECT_EQ(observe->observe().lanes_size(), 5);  // two of ingress
  EXPECT_TRUE(observe->observe().has_sums()) << "of nothing";
  EXPECT_EQ(StateOf(KeyOf(Stage::kObserver)), ProcessState::kReady);
  const size_t told = CountTold(KeyOf(Stage::kObserver), ToProcess::kObserve);
  Tick();
  EXPECT_EQ(CountTold(KeyOf(Stage::kObserver), ToProcess::kObserve), told) << "nothing changed";
}

TEST_F(FleetObserveTest, APageGoesInTheMessageThatBringsItsSums) {
  StartAll();
  const uint32_t execution = KeyOf(Stage::kExecution);
  Count(execution, 10);
  fleet->OnDeath(execution, hands.now_ns);
  // Dead and not reaped: its page still counts.
  const auto names = [&](const ToProcess& message) {
    for (const LaneName& lane : message.observe().lanes()) {
      if (lane.incarnation() == execution) return true;
    }
    return false;
  };
  EXPECT_TRUE(names(*LastObserve()));
  EXPECT_EQ(Carried(Stage::kExecution), 0);
  fleet->OnEnd(execution, {0, SIGKILL});
  EXPECT_FALSE(names(*LastObserve()));
  EXPECT_TRUE(LastObserve()->observe().has_sums());
  EXPECT_EQ(Carried(Stage::kExecution), 10);
}

TEST_F(FleetObserveTest, ItsDeathCostsNothingAndTheNextOneIsToldEverything) {
  StartAll();
  const uint32_t observer = KeyOf(Stage::kObserver), execution = KeyOf(Stage::kExecution);
  fleet->OnDeath(observer, hands.now_ns);
  fleet->OnEnd(observer, {0, SIGKILL});
  EXPECT_TRUE(fleet->Ready());
  // Dies while there is no observer.
  Count(execution, 5);
  fleet->OnDeath(execution, hands.now_ns);
  fleet->OnEnd(execution, {0, SIGKILL});
  hands.now_ns += 20 * kNanosPerSecond;
  Tick();
  Play();
  ASSERT_NE(KeyOf(Stage::kObserver), 0u);
  ASSERT_NE(KeyOf(Stage::kObserver), observer);
  EXPECT_TRUE(LastObserve()->observe().has_sums());
  EXPECT_EQ(LastObserve()->observe().lanes_size(), 5);
  EXPECT_EQ(Carried(Stage::kExecution), 5);
}

TEST_F(FleetObserveTest, AnExitCodeThatWouldEndTheServerDoesNotWhereItIsTheObservers) {
  Make();
  fleet->Start();
  fleet->OnEnd(KeyOf(Stage::kObserver), {71, 0});
  EXPECT_EQ(fleet->phase(), FleetPhase::kRunning);
  Play();
  EXPECT_TRUE(fleet->Ready());
}

// "name pid" of the rings that the observer was told of last, and how often it was told.
class FleetLogsTest : public FleetObserveTest {
 protected:
  void SayLogs(uint32_t key, uint32_t pid, size_t fds = 1) {
    FromProcess message;
    message.mutable_logs()->set_pid(pid);
    Say(key, message, fds);
  }
  std::vector<std::string> Rings(size_t back = 0) const {
    std::vector<std::vector<std::string>> all;
    for (const Told& told : hands.told) {
      if (told.key != KeyOf(Stage::kObserver) || !told.message.has_observe_logs()) continue;
      EXPECT_EQ(told.fds, static_cast<size_t>(told.message.observe_logs().rings_size()));
      all.emplace_back();
      for (const ObserveLogs::Ring& ring : told.message.observe_logs().rings()) {
        all.back().push_back(ring.process() + " " + std::to_string(ring.pid()));
      }
    }
    return back < all.size() ? all[all.size() - 1 - back] : std::vector<std::string>{"never told"};
  }
};
using Names = std::vector<std::string>;

TEST_F(FleetLogsTest, RingsAreHandedOn) {
  StartAll();
  EXPECT_EQ(Rings(), Names{"never told"});
  SayLogs(KeyOf(Stage::kRegistry), 70);
  SayLogs(KeyOf(Stage::kExecution), 71);
  EXPECT_EQ(Rings(), (Names{"registry0 70", "execution0 71"}));
  const size_t told = CountTold(KeyOf(Stage::kObserver), ToProcess::kObserveLogs);
  for (int i = 0; i < 3; ++i) Tick();
  EXPECT_EQ(CountTold(KeyOf(Stage::kObserver), ToProcess::kObserveLogs), told) << "nothing changed";
  const uint32_t features = KeyOf(Stage::kFeatures);
  SayLogs(features, 72, 2);
  EXPECT_EQ(StateOf(features), ProcessState::kDying) << "a message that is no such";
}

// Also of one that said it and died before the observer could be told.
TEST_F(FleetLogsTest, TheRingOfAProcessThatEndedIsNamedOnceMore) {
  StartAll();
  const uint32_t execution = KeyOf(Stage::kExecution);
  SayLogs(execution, 71);
  fleet->OnDeath(execution, hands.now_ns);
  fleet->OnEnd(execution, {0, SIGKILL});
  Tick();
  EXPECT_EQ(Rings(), Names{}) << "and gone, which has it read to its end";
  // Without an observer it waits for the next one.
  const uint32_t observer = KeyOf(Stage::kObserver), features = KeyOf(Stage::kFeatures);
  fleet->OnDeath(observer, hands.now_ns);
  fleet->OnEnd(observer, {0, SIGKILL});
  SayLogs(features, 72);
  fleet->OnDeath(features, hands.now_ns);
  fleet->OnEnd(features, {0, SIGKILL});
  hands.now_ns += 20 * kNanosPerSecond;
  Tick();
  Play();
  EXPECT_EQ(Rings(1), Names{"features0 72"});
  EXPECT_EQ(Rings(), Names{});
}

TEST_F(FleetObserveTest, OneThatTakesNoMessagesIsReplaced) {
  StartAll();
  const uint32_t observer = KeyOf(Stage::kObserver);
  hands.full.insert(observer);
  for (int i = 0; i < 6; ++i) Tick();
  EXPECT_EQ(StateOf(observer), ProcessState::kDying);
  EXPECT_TRUE(fleet->Ready());
}

TEST_F(FleetObserveTest, ViewsComeSomeTimesASecond) {
  StartAll();
  for (int i = 0; i < 20; ++i) Tick();
  EXPECT_EQ(CountTold(KeyOf(Stage::kObserver), ToProcess::kFleetView), 4u);
}

// Once it is known, with each view; anew when a worker, a version or a minute comes.
TEST_F(FleetObserveTest, ViewsTellWhatIsOwed) {
  StartAll();
  const auto owed = [&] {
    for (int i = 0; i < 5; ++i) Tick();
    FleetView view;
    for (const Told& told : hands.told) {
      if (told.message.has_fleet_view()) view = told.message.fleet_view();
    }
    return view;
  };
  const DebtLimits limits;
  const size_t debts =
      DebtOf(fleet->catalog().catalog(), limits, fleet->behind(), hands.WallSeconds()).size();
  ASSERT_GT(debts, 0u);
  FleetView view = owed();
  ASSERT_EQ(static_cast<size_t>(view.debts_size()), debts);
  EXPECT_EQ(view.debts(0).kind(), "unsigned");
  EXPECT_NE(view.debts(0).sentence(), "");
  EXPECT_EQ(view.debts_left_off(), 0u);
  EXPECT_EQ(fleet->behind().workers, 1u);
  const auto has_one_worker = [&] {
    view = owed();
    return std::any_of(view.debts().begin(), view.debts().end(),
                       [](const auto& debt) { return debt.kind() == "one_worker"; });
  };
  EXPECT_TRUE(has_one_worker());
  ASSERT_TRUE(fleet->Scale(Stage::kExecution, 2).ok());
  Tick();
  Play();
  ASSERT_EQ(fleet->behind().workers, 2u);
  EXPECT_FALSE(has_one_worker());
}

// The sums of versions that the registry asked for: of the living, of the dying, of the ended.
TEST_F(FleetObserveTest, TheRegistryIsSentWhatItWatches) {
  StartAll();
  const uint32_t registry = KeyOf(Stage::kRegistry), ingress = KeyOf(Stage::kIngress);
  Count(ingress, 1);
  std::vector<std::unique_ptr<StatsWriter>> writers;
  for (uint32_t incarnation : lanes[ingress]) {
    writers.push_back(std::make_unique<StatsWriter>(&pages_[incarnation]->stats));
    writers.back()->Name(4, "churn", "1");
    writers.back()->Name(5, "churn", "2");
    writers.back()->Of(5).Code(0);
  }
  writers[0]->Of(5).Add(StatsSum::kCompared, 3);
  const auto sent = [&] {
    const VersionStatistics* last = nullptr;
    for (const Told& told : hands.told) {
      if (told.message.has_version_statistics()) last = &told.message.version_statistics();
    }
    return last;
  };
  for (int i = 0; i < 25; ++i) Tick();
  EXPECT_EQ(sent(), nullptr) << "nobody asked";
  FromProcess message;
  for (const char* version : {"2", "3"}) {
    WatchVersions::Version* one = message.mutable_watch_versions()->add_versions();
    one->set_model("churn");
    one->set_version(version);
  }
  Say(registry, message);
  const auto expect = [&](uint64_t answers) {
    for (int i = 0; i < 20; ++i) Tick();
    const VersionStatistics* last = sent();
    ASSERT_NE(last, nullptr);
    ASSERT_EQ(last->versions_size(), 2);
    EXPECT_EQ(last->taken_ns(), hands.now_ns);
    ASSERT_EQ(last->versions(0).words_size(), static_cast<int>(kStatsWords));
    EXPECT_EQ(last->versions(0).words(StatsCodeAt(0)), answers);
    EXPECT_EQ(last->versions(0).words(static_cast<int>(StatsSumAt(StatsSum::kCompared))), 3u);
    EXPECT_EQ(last->versions(1).words(StatsCodeAt(0)), 0u);
  };
  expect(2);
  writers[1]->Of(5).Code(0);
  expect(3);
  fleet->OnDeath(ingress, hands.now_ns);
  expect(3);
  fleet->OnEnd(ingress, {0, SIGKILL});
  expect(3);
  // Nothing more once nothing is watched.
  message.mutable_watch_versions()->clear_versions();
  Say(registry, message);
  const size_t told = CountTold(registry, ToProcess::kVersionStatistics);
  for (int i = 0; i < 40; ++i) Tick();
  EXPECT_EQ(CountTold(registry, ToProcess::kVersionStatistics), told);
}

TEST_F(FleetObserveTest, WhoMayNotWatchOrWatchesTooMuchIsEnded) {
  StartAll();
  FromProcess message;
  message.mutable_watch_versions()->add_versions()->set_model("churn");
  Say(KeyOf(Stage::kExecution), message);
  EXPECT_EQ(StateOf(KeyOf(Stage::kRegistry)), ProcessState::kReady);
  EXPECT_NE(fleet->Ready(), true);
  const uint32_t registry = KeyOf(Stage::kRegistry);
  for (size_t i = 0; i < VersionWatch::kMost; ++i) {
    message.mutable_watch_versions()->add_versions()->set_version(std::to_string(i));
  }
  Say(registry, message);
  EXPECT_EQ(StateOf(registry), ProcessState::kDying);
}

TEST_F(FleetObserveTest, TheNextSupervisorGoesOnWithTheSums) {
  StartAll();
  const uint32_t execution = KeyOf(Stage::kExecution);
  Count(execution, 10);
  fleet->OnDeath(execution, hands.now_ns);
  fleet->OnEnd(execution, {0, SIGKILL});
  hands.now_ns += 20 * kNanosPerSecond;
  Tick();
  Play();
  TakeOver();
  EXPECT_TRUE(LastObserve()->observe().has_sums());
  const uint32_t next = KeyOf(Stage::kExecution);
  Count(next, 3);
  fleet->OnDeath(next, hands.now_ns);
  fleet->OnEnd(next, {0, SIGKILL});
  EXPECT_EQ(Carried(Stage::kExecution), 13);
}

// The supervisor died after it had seen a death and before it had reaped.
TEST_F(FleetObserveTest, WhatTheDyingCountedIsNotLostWithTheirSupervisor) {
  StartAll();
  const uint32_t execution = KeyOf(Stage::kExecution);
  Count(execution, 10);
  fleet->OnDeath(execution, hands.now_ns);
  TakeOver();
  bool named = false;
  for (const LaneName& lane : LastObserve()->observe().lanes()) {
    named |= lane.incarnation() == execution;
  }
  EXPECT_TRUE(named) << "its page still counts";
  fleet->OnEnd(execution, {-1, 0});
  EXPECT_EQ(Carried(Stage::kExecution), 10);
}

// It ended while no supervisor looked: what was stored of it is all there is.
TEST_F(FleetObserveTest, OneThatIsGoneIsCarriedFromWhatWasStored) {
  StartAll();
  const uint32_t features = KeyOf(Stage::kFeatures);
  Region page = std::move(*Region::Create(kPageType, features, sizeof(Page)));
  page.as<Page>()->Add(Counter::kTaken, 4);
  hands.stored["process/" + std::to_string(features) + "/" + std::to_string(features) + ".page"] =
      std::make_shared<const Fd>(page.fd().Duplicate());
  hands.alive.erase(features);
  TakeOver();
  EXPECT_EQ(Carried(Stage::kFeatures), 4);
}

}  // namespace
}  // namespace millrace
