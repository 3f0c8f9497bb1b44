#include "services/observer/collect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "ipc/stats.h"
#include "prometheus/text_serializer.h"
#include "services/observer/metric_names.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class CollectTest : public testing::Test {
 protected:
  struct Lane {
    explicit Lane(uint32_t incarnation)
        : region(std::move(*Region::Create(kPageType, incarnation, sizeof(Page)))),
          stats(&region.as<Page>()->stats) {}
    Page& page() { return *region.as<Page>(); }

    Region region;
    StatsWriter stats;
  };

  // Tells of these lanes, each of ingress unless said otherwise.
  void Observe(const std::vector<Lane*>& lanes, const StatsSums* sums = nullptr,
               Stage stage = Stage::kIngress) {
    millrace::Observe message;
    std::vector<Fd> fds;
    for (Lane* lane : lanes) {
      LaneName* name = message.add_lanes();
      name->set_incarnation(lane->region.incarnation());
      name->set_stage(static_cast<uint32_t>(stage));
      name->set_lane(static_cast<uint32_t>(fds.size()));
      fds.push_back(lane->region.fd().Duplicate());
    }
    if (sums != nullptr) {
      const std::string bytes = sums->SerializeAsString();
      message.set_has_sums(true);
      fds.push_back(std::move(*MakeSealedCopy("sums", bytes.data(), bytes.size())));
    }
    pages_.Observe(message, fds);
  }

  std::string Text() {
    CollectSetup setup;
    setup.now_ns = now_ns_;
    setup.gpus = gpus_;
    setup.use_of = [](pid_t) { return ProcessUse{1.5, 4096, 3, 0.25}; };
    std::ostringstream text;
    prometheus::TextSerializer().Serialize(text, Collect(pages_.Take(), setup));
    return text.str();
  }

  PageSet pages_;
  int64_t now_ns_ = 1'000'000'000'000;
  std::vector<GpuSample> gpus_;
};

TEST_F(CollectTest, LanesOfAProcessAreAddedUp) {
  Lane a(1), b(2);
  for (Lane* lane : {&a, &b}) {
    lane->stats.Name(4, "digits", "1");
    lane->stats.Of(4).Code(0);
    lane->stats.Of(4).Observe(StatsTime::kTotal, 3'000'000);
    lane->page().Add(Counter::kTaken, 5);
  }
  a.stats.Of(4).Code(14);
  Observe({&a, &b});
  const std::string text = Text();
  EXPECT_THAT(text, HasSubstr("millrace_ingress_requests_total{model=\"digits\",version=\"1\","
                              "code=\"OK\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("code=\"UNAVAILABLE\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("millrace_lane_taken_total{stage=\"ingress\",worker=\"ingress0\"} "
                              "10\n"));
  EXPECT_THAT(text, HasSubstr("millrace_ingress_request_seconds_bucket{model=\"digits\","
                              "version=\"1\",le=\"0.0025\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("millrace_ingress_request_seconds_count{model=\"digits\","
                              "version=\"1\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("millrace_ingress_slo_requests_total{model=\"digits\","
                              "version=\"1\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("millrace_ingress_slo_good_total{model=\"digits\",version=\"1\"} "
                              "2\n"));
  EXPECT_THAT(text, HasSubstr("nv_inference_request_success{model=\"digits\",version=\"1\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("nv_inference_request_failure{model=\"digits\",version=\"1\","
                              "reason=\"REJECTED\"} 1\n"));
}

TEST_F(CollectTest, TheClientsOwnFaultsAreNotTheObjectives) {
  Lane a(1);
  a.stats.Name(4, "m", "1");
  for (const size_t code : {1, 3, 5, 16, 4}) a.stats.Of(4).Code(code);
  a.stats.Of(4).Code(0);
  a.stats.Of(4).Observe(StatsTime::kTotal, 100'000'001);  // too late by a hair
  Observe({&a});
  EXPECT_THAT(Text(), HasSubstr("slo_requests_total{model=\"m\",version=\"1\"} 2\n"));
  EXPECT_THAT(Text(), HasSubstr("slo_good_total{model=\"m\",version=\"1\"} 0\n"));
}

// What was carried and a page that is in it: counted once, whichever comes first.
TEST_F(CollectTest, AnIncarnationIsCountedOnce) {
  Lane dead(1), next(2);
  for (Lane* lane : {&dead, &next}) lane->stats.Name(4, "m", "1");
  for (int i = 0; i < 7; ++i) dead.stats.Of(4).Code(0);
  next.stats.Of(4).Code(0);
  dead.page().Add(Counter::kTaken, 7);
  next.page().Add(Counter::kTaken, 1);
  StatsSums sums;
  sums.set_layout(kPageType.layout_hash);
  sums.add_incarnations(1);
  ProcessSums* process = sums.add_processes();
  process->set_stage(static_cast<uint32_t>(Stage::kIngress));
  process->mutable_counters()->Resize(static_cast<int>(Counter::kCount), 0);
  process->set_counters(static_cast<int>(Counter::kTaken), 7);
  process->set_ends(1);
  ModelSums* model = sums.add_models();
  model->set_stage(static_cast<uint32_t>(Stage::kIngress));
  model->set_model("m");
  model->set_version("1");
  model->mutable_words()->Resize(kStatsWords, 0);
  model->set_words(0, 7);
  const std::string taken = "taken_total{stage=\"ingress\",worker=\"ingress0\"} ";
  Observe({&dead, &next});
  EXPECT_THAT(Text(), HasSubstr(taken + "8\n"));
  Observe({&dead, &next}, &sums);
  EXPECT_THAT(Text(), HasSubstr(taken + "8\n"));
  Observe({&next}, &sums);
  EXPECT_THAT(Text(), HasSubstr(taken + "8\n"));
  EXPECT_THAT(Text(), HasSubstr("requests_total{model=\"m\",version=\"1\",code=\"OK\"} 8\n"));
  EXPECT_THAT(Text(), HasSubstr("worker_ends_total{stage=\"ingress\",worker=\"ingress0\"} 1\n"));
  // Sums of another build are not these numbers.
  sums.set_layout(1);
  Observe({&next}, &sums);
  EXPECT_THAT(Text(), HasSubstr(taken + "8\n"));
}

TEST_F(CollectTest, APageOfAnotherBuildIsLeftOutAndCounted) {
  Lane good(1);
  good.page().Add(Counter::kTaken, 1);
  Region other =
      std::move(*Region::Create({RegionKind::kPage, kPageType.layout_hash + 1}, 2, sizeof(Page)));
  millrace::Observe message;
  std::vector<Fd> fds;
  for (const auto* region : {&good.region, &other}) {
    message.add_lanes()->set_incarnation(region->incarnation());
    message.mutable_lanes(message.lanes_size() - 1)
        ->set_stage(static_cast<uint32_t>(Stage::kIngress));
    fds.push_back(region->fd().Duplicate());
  }
  pages_.Observe(message, fds);
  EXPECT_THAT(Text(), HasSubstr("millrace_observer_pages_refused_total 1\n"));
  EXPECT_THAT(Text(), HasSubstr("taken_total{stage=\"ingress\",worker=\"ingress0\"} 1\n"));
  // A message whose descriptors do not fit it changes nothing.
  message.add_lanes();
  pages_.Observe(message, fds);
  EXPECT_THAT(Text(), HasSubstr("millrace_observer_pages_refused_total 1\n"));
}

TEST_F(CollectTest, GoldenAnswersHaveAnAge) {
  Lane a(1);
  a.stats.Name(9, "m", "2");
  GoldenWords& golden = a.page().golden;
  golden.ready_until_ns.Set(now_ns_ + 1);
  golden.count.Set(1);
  golden.models[0].route.Set(9);
  golden.models[0].good_ns.Set(now_ns_ - 3'000'000'000);
  golden.models[0].good_until_ns.Set(now_ns_ + 1);
  Observe({&a});
  EXPECT_THAT(Text(),
              HasSubstr("millrace_model_golden_age_seconds{model=\"m\",version=\"2\"} 3\n"));
  EXPECT_THAT(Text(), HasSubstr("millrace_ready 1\n"));
  now_ns_ += 2;  // nobody renewed it
  EXPECT_THAT(Text(), HasSubstr("millrace_ready 0\n"));
  EXPECT_THAT(Text(), HasSubstr("millrace_model_ready{model=\"m\",version=\"2\"} 0\n"));
}

TEST_F(CollectTest, NothingIsThereBeforeAnythingIsTold) {
  EXPECT_THAT(Text(), HasSubstr("millrace_ready 0\n"));
  EXPECT_THAT(Text(), Not(HasSubstr("nv_gpu")));
}

TEST_F(CollectTest, WhatTheSupervisorSaysIsShown) {
  FleetView view;
  for (size_t i = 0; i < kStageCount; ++i) {
    view.add_wanted(i == static_cast<size_t>(Stage::kExecution) ? 2 : 0);
    view.add_stage_breakers(i == static_cast<size_t>(Stage::kExecution) ? 1 : 0);
  }
  FleetView::Process* process = view.add_processes();
  process->set_stage(static_cast<uint32_t>(Stage::kExecution));
  process->set_index(1);
  process->set_incarnation(77);
  process->set_pid(5);
  process->set_ready(true);
  process->set_shared_bytes(1 << 20);
  view.set_deaths(3);
  view.set_last_reroute_ns(2'000'000);
  view.set_foreign_cores(-1);
  pages_.View(view, now_ns_ - 500'000'000);
  const std::string text = Text();
  EXPECT_THAT(text, HasSubstr("millrace_workers_ready{stage=\"execution\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("millrace_workers_wanted{stage=\"execution\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("millrace_stage_breaker_open{stage=\"execution\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("millrace_worker_deaths_total 3\n"));
  EXPECT_THAT(text, HasSubstr("millrace_last_reroute_seconds 0.002\n"));
  EXPECT_THAT(text, HasSubstr("millrace_observer_view_age_seconds 0.5\n"));
  EXPECT_THAT(text, Not(HasSubstr("millrace_foreign_cores")));
  EXPECT_THAT(text, HasSubstr("millrace_process_cpu_seconds_total{stage=\"execution\","
                              "worker=\"execution1\",incarnation=\"77\"} 1.5\n"));
}

TEST_F(CollectTest, GpusAreUnderTritonsNames) {
  GpuSample gpu;
  gpu.uuid = "GPU-a";
  gpu.utilization = 0.5;
  gpu.power_watts = 99;
  gpus_ = {gpu};
  EXPECT_THAT(Text(), HasSubstr("nv_gpu_utilization{gpu_uuid=\"GPU-a\"} 0.5\n"));
  EXPECT_THAT(Text(), HasSubstr("nv_gpu_power_usage{gpu_uuid=\"GPU-a\"} 99\n"));
  EXPECT_THAT(Text(), Not(HasSubstr("nv_gpu_memory_used_bytes")));
}

// A page that a hostile worker filled: the text is still one that can be read.
TEST_F(CollectTest, AHostilePageMakesNoHostileText) {
  Lane a(1);
  auto* raw = reinterpret_cast<unsigned char*>(&a.page().stats);
  for (size_t i = 0; i < sizeof(StatsWords); ++i) raw[i] = static_cast<unsigned char>(i * 31 + 7);
  Observe({&a});
  const std::string text = Text();
  for (const char c : text) EXPECT_TRUE(c == '\n' || c < 0 || c >= 0x20);
  EXPECT_THAT(text, HasSubstr("millrace_build_info"));
}

}  // namespace
}  // namespace millrace
