#include "services/observer/pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/futex.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "ipc/stats.h"

namespace millrace {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr int64_t kSecond = 1'000'000'000;
constexpr uint64_t kMilli = 1'000'000;

class PipelineTest : public testing::Test {
 protected:
  struct Lane {
    Lane(Stage stage_of, uint32_t index_of, uint32_t incarnation)
        : stage(stage_of),
          index(index_of),
          region(std::move(*Region::Create(kPageType, incarnation, sizeof(Page)))),
          stats(&region.as<Page>()->stats) {}
    Page& page() { return *region.as<Page>(); }
    const Stage stage;
    const uint32_t index;
    Region region;
    StatsWriter stats;
  };

  Lane& Add(Stage stage, uint32_t index, uint32_t incarnation) {
    lanes_.push_back(std::make_unique<Lane>(stage, index, incarnation));
    FleetView::Process* process = view_.add_processes();
    process->set_stage(static_cast<uint32_t>(stage));
    process->set_index(index);
    process->set_incarnation(incarnation);
    process->set_pid(static_cast<int32_t>(incarnation));
    process->set_ready(true);
    process->set_started_ns(now_ns_ - kSecond);
    process->set_name(WorkerName(stage, index));
    Tell();
    return *lanes_.back();
  }

  void Tell() {
    millrace::Observe message;
    std::vector<Fd> fds;
    for (const auto& lane : lanes_) {
      LaneName* name = message.add_lanes();
      name->set_incarnation(lane->region.incarnation());
      name->set_stage(static_cast<uint32_t>(lane->stage));
      name->set_index(lane->index);
      fds.push_back(lane->region.fd().Duplicate());
    }
    pages_.Observe(message, fds);
    view_.clear_wanted();
    for (size_t stage = 0; stage < kStageCount; ++stage) view_.add_wanted(wanted_[stage]);
    pages_.View(view_, now_ns_);
  }

  void Wait(int64_t ns) {
    now_ns_ += ns;
    history_.Tick(pages_.Take(), now_ns_);
  }

  // Long enough after the one before to be another.
  json Report() {
    now_ns_ += kSecond / 2;
    PipelineSetup setup;
    setup.gpus = gpus_;
    const std::string text = history_.Report(pages_.Take(), now_ns_, setup);
    json report = json::parse(text, nullptr, false);
    EXPECT_TRUE(report.is_object()) << text;
    return report;
  }

  static json Named(const json& list, const char* key, const std::string& value) {
    for (const json& one : list) {
      if (one[key] == value) return one;
    }
    return nullptr;
  }

  int64_t now_ns_ = 1'000 * kSecond;
  std::vector<std::unique_ptr<Lane>> lanes_;
  FleetView view_;
  uint32_t wanted_[kStageCount] = {};
  std::vector<GpuSample> gpus_;
  PageSet pages_;
  double cpu_seconds_ = 5, run_delay_seconds_ = 2;
  PipelineHistory history_{[this](pid_t) {
    return ProcessUse{cpu_seconds_, 4096, 3, run_delay_seconds_};
  }};
};

TEST_F(PipelineTest, RatesAndQuantilesAreOfTheLastInterval) {
  Lane& ingress = Add(Stage::kIngress, 0, 1);
  Lane& execution = Add(Stage::kExecution, 0, 2);
  for (Lane* lane : {&ingress, &execution}) lane->stats.Name(4, "digits", "1");
  // Of long ago: in the counts, not in the rates.
  for (int i = 0; i < 1000; ++i) {
    ingress.stats.Of(4).Code(0);
    ingress.stats.Of(4).Observe(StatsTime::kTotal, 200 * kMilli);
  }
  Wait(kSecond);
  EXPECT_EQ(Report()["traffic"]["requests"], 1000);
  cpu_seconds_ += 0.75;
  for (int i = 0; i < 99; ++i) {
    ingress.stats.Of(4).Code(0);
    ingress.stats.Of(4).Observe(StatsTime::kTotal, 3 * kMilli);
    ingress.stats.Of(4).Add(StatsSum::kTotalNs, 3 * kMilli);
    ingress.stats.Of(4).Add(StatsSum::kInferNs, kMilli);
    execution.stats.Of(4).Observe(StatsTime::kQueue, 10'000);
  }
  ingress.stats.Of(4).Code(4);
  ingress.page().Add(Counter::kTaken, 100);
  ingress.page().Add(Counter::kShedQuota, 10);
  execution.page().Add(Counter::kTaken, 100);
  execution.page().Add(Counter::kAnswered, 100);
  execution.page().Add(Counter::kBusyNs, 500 * kMilli);
  execution.stats.Of(4).Observe(StatsTime::kWork, 2 * kMilli);
  execution.stats.Of(4).ObserveBatch(6);
  execution.stats.Of(4).ObserveBatch(2);
  execution.page().Set(Counter::kQueueDepth, 7);
  execution.page().Set(Counter::kWorstTurnNs, 21 * kMilli);
  run_delay_seconds_ += 0.25;
  const json report = Report();
  EXPECT_EQ(report["interval_ns"], kSecond);
  EXPECT_DOUBLE_EQ(report["traffic"]["per_second"], 100);
  EXPECT_DOUBLE_EQ(report["traffic"]["errors_per_second"], 1);
  EXPECT_DOUBLE_EQ(report["traffic"]["error_share"], 0.01);
  EXPECT_DOUBLE_EQ(report["traffic"]["slo_share"], 0.99);
  const json digits = Named(report["models"], "model", "digits");
  EXPECT_EQ(digits["requests"], 1100);
  EXPECT_EQ(digits["by_code"]["DEADLINE_EXCEEDED"], 1);
  // In the bucket from 2.5 to 3 ms.
  EXPECT_GT(digits["p50_ns"], 2'500'000);
  EXPECT_LE(digits["p99_ns"], 3'000'000);
  EXPECT_DOUBLE_EQ(digits["parts"]["infer_ns"], 1e6);
  EXPECT_DOUBLE_EQ(digits["parts"]["other_ns"], 2e6);
  EXPECT_DOUBLE_EQ(digits["batch_rows"], 4);
  EXPECT_EQ(digits["run"]["count"], 1);
  const json worker = Named(report["workers"], "name", "execution0");
  EXPECT_EQ(worker["incarnation"], 2);
  EXPECT_EQ(worker["state"], "ready");
  EXPECT_DOUBLE_EQ(worker["per_second"], 100);
  EXPECT_DOUBLE_EQ(worker["busy_share"], 0.5);
  EXPECT_DOUBLE_EQ(worker["cpu_cores"], 0.75);
  EXPECT_DOUBLE_EQ(worker["run_delay_cores"], 0.25);
  EXPECT_EQ(worker["worst_turn_ns"], 21 * kMilli);
  EXPECT_EQ(worker["queue_depth"], 7);
  EXPECT_GT(worker["queue"]["p50_ns"], 8'000);
  EXPECT_LE(worker["queue"]["p99_ns"], 10'000);
  EXPECT_DOUBLE_EQ(Named(report["shed"], "reason", "quota")["per_second"], 10);
  EXPECT_EQ(Named(report["shed"], "reason", "delay")["total"], 0);
}

TEST_F(PipelineTest, LinksAreThoseOfTheTopologyWithTheirMessages) {
  Lane& features = Add(Stage::kFeatures, 0, 2);
  Lane& execution = Add(Stage::kExecution, 0, 3);
  Lane& second = Add(Stage::kExecution, 1, 4);
  Lane& aggregation = Add(Stage::kAggregation, 0, 5);
  features.page().Add(Counter::kTaken, 30);
  features.page().Add(Counter::kAnswered, 28);
  features.page().Add(Counter::kFailed, 2);
  execution.page().Add(Counter::kTaken, 60);
  second.page().Add(Counter::kTaken, 40);
  execution.page().Add(Counter::kAnswered, 60);
  second.page().Add(Counter::kAnswered, 40);
  aggregation.page().Add(Counter::kTaken, 20);
  aggregation.page().Add(Counter::kAnswered, 10);
  std::map<std::string, int> messages;
  const json report = Report();
  for (const json& link : report["links"]) {
    messages[std::string(link["from"]) + "-" + std::string(link["to"])] = link["messages"];
  }
  const std::map<std::string, int> expected = {
      {"ingress-features", 30},      {"features-execution", 30}, {"ingress-execution", 70},
      {"execution-aggregation", 20}, {"execution-ingress", 80},  {"aggregation-ingress", 10}};
  EXPECT_EQ(messages, expected);
}

TEST_F(PipelineTest, WithoutAReadingBeforeThereAreNoRates) {
  Lane& ingress = Add(Stage::kIngress, 0, 1);
  ingress.stats.Name(4, "m", "1");
  ingress.stats.Of(4).Code(0);
  ingress.stats.Of(4).Observe(StatsTime::kTotal, kMilli);
  const json report = Report();
  EXPECT_EQ(report["interval_ns"], 0);
  EXPECT_TRUE(report["traffic"]["per_second"].is_null());
  EXPECT_TRUE(report["traffic"]["p50_ns"].is_null());
  EXPECT_TRUE(report["links"][0]["per_second"].is_null());
  EXPECT_TRUE(report["workers"][0]["cpu_cores"].is_null());
  EXPECT_EQ(report["models"][0]["requests"], 1);
  // The first answer was a reading itself.
  EXPECT_GT(Report()["interval_ns"], 0);
}

TEST_F(PipelineTest, AnOldReadingIsNoInterval) {
  Add(Stage::kIngress, 0, 1);
  Report();
  now_ns_ += 60 * kSecond;
  EXPECT_EQ(Report()["interval_ns"], 0);
}

// The kernel's mark in the page comes before the supervisor's word.
TEST_F(PipelineTest, ADeathIsSeenInThePage) {
  Lane& worker = Add(Stage::kExecution, 0, 7);
  EXPECT_EQ(Report()["workers"][0]["state"], "ready");
  worker.page().liveness = FUTEX_OWNER_DIED | 77;
  EXPECT_EQ(Report()["workers"][0]["state"], "died");
  worker.page().liveness = 77;
  worker.page().state = static_cast<uint32_t>(LaneState::kDying);
  EXPECT_EQ(Report()["workers"][0]["state"], "died");
}

TEST_F(PipelineTest, WhatShouldBeThereAndIsNotIsDown) {
  Add(Stage::kExecution, 1, 7);
  wanted_[static_cast<size_t>(Stage::kExecution)] = 2;
  Tell();
  const json report = Report();
  EXPECT_EQ(Named(report["workers"], "name", "execution0")["state"], "down");
  EXPECT_EQ(Named(report["workers"], "name", "execution1")["state"], "ready");
  EXPECT_EQ(Named(report["stages"], "stage", "execution")["wanted"], 2);
  EXPECT_EQ(Named(report["stages"], "stage", "execution")["ready"], 1);
}

TEST_F(PipelineTest, ASpareIsNoWorkerYet) {
  Add(Stage::kExecution, 0, 7);
  view_.mutable_processes(0)->set_spare(true);
  view_.mutable_processes(0)->set_name("execution_spare0");
  Tell();
  EXPECT_EQ(Named(Report()["workers"], "name", "execution_spare0")["state"], "spare");
}

// A worker's successor begins at nothing, in a page of its own.
TEST_F(PipelineTest, ASuccessorsTimesAreItsOwn) {
  Lane& first = Add(Stage::kExecution, 0, 7);
  first.stats.Name(4, "m", "1");
  for (int i = 0; i < 500; ++i) first.stats.Of(4).Observe(StatsTime::kWork, 40 * kMilli);
  Wait(kSecond);
  lanes_.clear();
  view_.clear_processes();
  Lane& next = Add(Stage::kExecution, 0, 8);
  next.stats.Name(4, "m", "1");
  for (int i = 0; i < 3; ++i) next.stats.Of(4).Observe(StatsTime::kWork, kMilli);
  const json worker = Named(Report()["workers"], "name", "execution0");
  EXPECT_EQ(worker["incarnation"], 8);
  EXPECT_EQ(worker["work"]["count"], 3);
  EXPECT_LE(worker["work"]["p99_ns"], 1'000'000);
}

TEST_F(PipelineTest, HistoryIsOfSecondsAndBounded) {
  Lane& ingress = Add(Stage::kIngress, 0, 1);
  ingress.stats.Name(4, "m", "1");
  for (int i = 0; i < 3; ++i) {
    for (int n = 0; n < 10 * i; ++n) ingress.stats.Of(4).Code(0);
    Wait(kSecond / 4);  // too early for another point
    Wait(3 * kSecond / 4);
  }
  json history = Report()["history"];
  EXPECT_EQ(history["per_second"].size(), history["p99_ns"].size());
  EXPECT_THAT(history["per_second"].get<std::vector<double>>(), ElementsAre(10, 20));
  for (size_t i = 0; i < PipelineHistory::kPoints + 50; ++i) Wait(kSecond);
  EXPECT_EQ(Report()["history"]["deaths"].size(), PipelineHistory::kPoints);
  // A silence is no point, and what was before it stands no more where it would be now.
  Wait(60 * kSecond);
  EXPECT_THAT(Report()["history"]["per_second"], IsEmpty());
}

// Finite numbers and text, down to the last leaf.
void ExpectSane(const json& value) {
  if (value.is_structured()) {
    for (const json& one : value) ExpectSane(one);
  } else if (value.is_number_float()) {
    EXPECT_TRUE(std::isfinite(value.get<double>()));
    EXPECT_GE(value.get<double>(), 0);
  }
}

TEST_F(PipelineTest, AHostilePageIsStillJson) {
  std::vector<Lane*> lanes = {&Add(Stage::kIngress, 0, 1), &Add(Stage::kExecution, 0, 2)};
  lanes[0]->stats.Name(4, "m", "1");
  for (const int seed : {7, 91, 255, 0, 33}) {
    for (Lane* lane : lanes) {
      auto* raw = reinterpret_cast<unsigned char*>(&lane->page()) + offsetof(Page, liveness);
      for (size_t i = 0; i < sizeof(Page) - offsetof(Page, liveness); ++i) {
        raw[i] = static_cast<unsigned char>(seed == 255 ? 255 : i * 31 + seed);
      }
    }
    Wait(kSecond);
    const json report = Report();
    ExpectSane(report);
    EXPECT_EQ(report["workers"].size(), 2u);
    EXPECT_LE(report["models"].size(), kMaxStatsModels);
  }
}

TEST_F(PipelineTest, NamesComeAsTheyAre) {
  constexpr char kHostile[] = "<img src=x onerror=alert(1)>\"</script>'&";
  Lane& ingress = Add(Stage::kIngress, 0, 1);
  ingress.stats.Name(4, kHostile, "\xff\x01");
  const json report = Report();
  EXPECT_EQ(report["models"][0]["model"], kHostile);
  EXPECT_EQ(report["models"][0]["version"], "??");
}

TEST_F(PipelineTest, BeforeAnythingIsToldThereIsAnAnswer) {
  const json report = Report();
  EXPECT_TRUE(report["view_age_ns"].is_null());
  EXPECT_THAT(report["workers"], IsEmpty());
  EXPECT_EQ(report["stages"].size(), 4u);
  EXPECT_EQ(report["links"].size(), kEdges.size());
  EXPECT_FALSE(report["ready"]);
}

TEST_F(PipelineTest, AskedAgainAtOnceItSaysTheSame) {
  Lane& ingress = Add(Stage::kIngress, 0, 1);
  const std::string first = history_.Report(pages_.Take(), now_ns_, {});
  ingress.page().Set(Counter::kInFlight, 9);
  EXPECT_EQ(history_.Report(pages_.Take(), now_ns_ + 1, {}), first);
  EXPECT_NE(history_.Report(pages_.Take(), now_ns_ + kSecond, {}), first);
}

TEST_F(PipelineTest, TellsWhatIsOwed) {
  Add(Stage::kIngress, 0, 1);
  EXPECT_EQ(Report()["debt"], json({{"left_off", 0}, {"debts", json::array()}}));
  FleetView::Debt* const debt = view_.add_debts();
  debt->set_kind("old_weights");
  debt->set_model("churn \xff");
  debt->set_version("3");
  debt->set_owner("Risk");
  debt->set_sentence("too old");
  debt->set_since_s(1'790'000'000);
  view_.add_debts()->set_kind("one_worker");
  view_.set_debts_left_off(7);
  Tell();
  const json told = Report()["debt"];
  EXPECT_EQ(told["left_off"], 7);
  ASSERT_EQ(told["debts"].size(), 2u);
  EXPECT_EQ(told["debts"][0], json({{"kind", "old_weights"},
                                    {"model", "churn \xef\xbf\xbd"},
                                    {"version", "3"},
                                    {"owner", "Risk"},
                                    {"sentence", "too old"},
                                    {"since_s", 1'790'000'000}}));
  EXPECT_EQ(told["debts"][1]["since_s"], nullptr);
}

}  // namespace
}  // namespace millrace
