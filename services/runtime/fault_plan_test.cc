// The rules at work in a worker between an ingress lane and itself.
#include "services/runtime/fault_plan.h"

#include <signal.h>
#include <string.h>
#include <time.h>

#include <set>

#include "common/clock.h"
#include "gtest/gtest.h"
#include "ipc/tensor_pack.h"
#include "services/runtime/process.h"
#include "services/runtime/testing/lane_rig.h"
#include "services/runtime/worker.h"

namespace millrace {
namespace {

constexpr uint16_t kRoute = 12, kOther = 13;

Config WithRules(const std::string& rules) {
  Config config;
  config.fault_rules = rules;
  return config;
}

int64_t ThreadNanos() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return time.tv_sec * kNanosPerSecond + time.tv_nsec;
}

Catalog TwoModels() {
  Catalog catalog;
  for (const auto& [name, route] : {std::pair("m", kRoute), std::pair("other", kOther)}) {
    Model* model = catalog.add_models();
    model->set_name(name);
    model->set_route(route);
  }
  return catalog;
}

TEST(FaultPlan, IsNothingWithoutARuleOfTheStage) {
  EXPECT_EQ(FaultPlan::Make(Config(), Stage::kExecution), nullptr);
  const Config config = WithRules("- {stage: features, kind: loss}");
  EXPECT_EQ(FaultPlan::Make(config, Stage::kExecution), nullptr);
  EXPECT_NE(FaultPlan::Make(config, Stage::kFeatures), nullptr);
  // It tells which rules a request asks for.
  EXPECT_NE(FaultPlan::Make(config, Stage::kIngress), nullptr);
}

TEST(FaultPlan, TheSameRequestsAreChosenAgainAndAboutAsManyAsTold) {
  Config config = WithRules("- {stage: execution, kind: loss, fraction: 0.05}");
  const auto chosen = [&] {
    const auto plan = FaultPlan::Make(config, Stage::kExecution);
    std::set<uint64_t> keys;
    for (uint64_t key = 0; key < 20'000; ++key) {
      if (plan->Befalling(FaultKind::kLoss, {key, 0, true, ~0u}) != 0) keys.insert(key);
    }
    return keys;
  };
  const std::set<uint64_t> first = chosen();
  EXPECT_GT(first.size(), 800u);
  EXPECT_LT(first.size(), 1200u);
  EXPECT_EQ(chosen(), first);
  config.fault_seed = 2;
  EXPECT_NE(chosen(), first);
}

TEST(FaultPlan, ARuleWithAHeaderBefallsOnlyWhoAsks) {
  const auto plan = FaultPlan::Make(WithRules("- {stage: features, kind: error, header: a}\n"
                                              "- {stage: features, kind: loss, header: b}\n"),
                                    Stage::kFeatures);
  const uint32_t a = plan->Asked("a");
  EXPECT_EQ(a, 1u);
  EXPECT_EQ(plan->Asked("c"), 0u);
  EXPECT_EQ(plan->Asked(""), 0u);
  EXPECT_NE(plan->Befalling(FaultKind::kError, {5, a, true, ~0u}), 0u);
  EXPECT_EQ(plan->Befalling(FaultKind::kLoss, {5, a, true, ~0u}), 0u);
  EXPECT_EQ(plan->Befalling(FaultKind::kError, {5, 0, true, ~0u}), 0u);
}

TEST(FaultPlan, ARuleWithAModelBefallsItsRoutesAlone) {
  const auto plan =
      FaultPlan::Make(WithRules("- {stage: execution, kind: error, model: m}"), Stage::kExecution);
  plan->Use(plan->Match(TwoModels()));
  EXPECT_NE(plan->OfRoute(kRoute), 0u);
  EXPECT_EQ(plan->OfRoute(kOther), 0u);
  EXPECT_EQ(plan->OfRoute(99), 0u);
}

TEST(FaultPlan, ARuleWithAVersionBefallsThatVersionAlone) {
  const auto plan = FaultPlan::Make(
      WithRules("- {stage: execution, kind: error, model: m, version: 2}"), Stage::kExecution);
  Catalog catalog = TwoModels();
  catalog.mutable_models(0)->set_version("1");
  catalog.mutable_models(1)->set_version("2");
  plan->Use(plan->Match(catalog));
  EXPECT_EQ(plan->OfRoute(kRoute), 0u);
  EXPECT_EQ(plan->OfRoute(kOther), 0u) << "another model";
  EXPECT_EQ(plan->OfName("m"), 0u);
  catalog.mutable_models(1)->set_name("m");
  plan->Use(plan->Match(catalog));
  EXPECT_EQ(plan->OfRoute(kRoute), 0u);
  EXPECT_NE(plan->OfRoute(kOther), 0u);
}

class FaultedWorkerTest : public ::testing::Test {
 protected:
  FaultedWorkerTest() {
    rig_.Link(ingress_, execution_);
    rig_.Link(execution_, ingress_);
    ingress_.lane.Poll();
    worker_.Poll();
  }
  void Plan(const std::string& rules) {
    plan_ = FaultPlan::Make(WithRules(rules), Stage::kExecution);
    ASSERT_NE(plan_, nullptr);
    plan_->Use(plan_->Match(TwoModels()));
    worker_.set_faults(plan_.get());
  }
  // A request of so many rows, taken by the worker and named.
  WorkItem Take(uint16_t slot, uint32_t rows, uint16_t route = kRoute, uint8_t attempt = 0) {
    const PartId id = {slot, 1, attempt, 0};
    LedgerEntry entry;
    entry.deadline_ns = INT64_MAX;
    entry.route = route;
    entry.fault_key = slot;
    ingress_.ledger->Open(id, entry);
    PackWriter pack(rows);
    pack.Add(0, DataType::kFp32, 2, rows * 8);
    std::string bytes(pack.bytes(), 0);
    pack.Place(reinterpret_cast<std::byte*>(bytes.data()));
    Message message;
    message.id = id.Pack();
    message.route = route;
    message.origin = ingress_.incarnation();
    message.deadline_ns = INT64_MAX;
    message.block = ingress_.Write(bytes, slot);
    EXPECT_TRUE(ingress_.lane.Send(execution_.incarnation(), message));
    ingress_.lane.Release(message.block);
    worker_.Poll();
    return *worker_.Pop();
  }
  // Works on it as a stage does, and takes in what comes back.
  void Serve(const WorkItem& item) {
    worker_.Executing({&item, 1}, 0);
    PackWriter out(1);
    out.Add(0, DataType::kFp32, 1, 4);
    const MaybeBlock block = worker_.Allocate(item, out.bytes());
    absl::Status status = absl::ResourceExhaustedError("no block");
    if (block.has_value()) {
      out.Place(worker_.At(*block));
      const float value = 1.5f;
      memcpy(out.Data(0), &value, sizeof value);
      status = absl::OkStatus();
    }
    const Hop hop = {ingress_.incarnation(), 0, item.message.route};
    worker_.Reply(item, {&hop, 1}, status, *block);
    worker_.Done();
    ingress_.lane.Poll();
    worker_.Poll();
  }
  uint64_t Injected() { return execution_.lane.page().Get(Counter::kInjected); }

  LaneRig rig_;
  TestLane& ingress_ = rig_.Add(Stage::kIngress);
  TestLane& execution_ = rig_.Add(Stage::kExecution);
  Recorder answers_{&ingress_.lane};
  std::unique_ptr<FaultPlan> plan_;
  Worker worker_{&execution_.lane};
};

TEST_F(FaultedWorkerTest, ABusyDelayBurnsSoMuchCpuForEachRow) {
  Plan("- {stage: execution, kind: delay, delay_ms: 2, per: row, busy: true, model: m}");
  const int64_t before = ThreadNanos();
  Serve(Take(1, 10));
  EXPECT_GE(ThreadNanos() - before, 20 * kNanosPerMilli);
  EXPECT_EQ(Injected(), 1u);
  Serve(Take(2, 10, kOther));
  EXPECT_EQ(Injected(), 1u);
  EXPECT_EQ(answers_.messages.size(), 2u);
}

TEST_F(FaultedWorkerTest, ALostResultIsNeverSentAndHoldsNothing) {
  Plan("- {stage: execution, kind: loss}");
  Serve(Take(1, 1));
  EXPECT_TRUE(answers_.messages.empty());
  EXPECT_TRUE(worker_.Idle());
  EXPECT_EQ(execution_.lane.arena().taken(), 0u);
  EXPECT_EQ(ingress_.lane.arena().taken(), 0u);
  EXPECT_EQ(Injected(), 1u);
}

TEST_F(FaultedWorkerTest, AnErrorIsUnavailable) {
  Plan("- {stage: execution, kind: error}");
  Serve(Take(1, 1));
  ASSERT_EQ(answers_.messages.size(), 1u);
  EXPECT_EQ(answers_.messages[0].kind, MessageKind::kError);
  EXPECT_EQ(answers_.messages[0].code, static_cast<int>(absl::StatusCode::kUnavailable));
  EXPECT_EQ(execution_.lane.arena().taken(), 0u);
}

TEST_F(FaultedWorkerTest, NoMemoryIsSeenByTheStageAndItsSentenceIsSentAllTheSame) {
  Plan("- {stage: execution, kind: no_memory}");
  Serve(Take(1, 1));
  ASSERT_EQ(answers_.messages.size(), 1u);
  EXPECT_EQ(answers_.messages[0].code, static_cast<int>(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(answers_.texts[0], "no block");
  EXPECT_EQ(Injected(), 1u);
}

TEST_F(FaultedWorkerTest, AWrongOutputIsReadableAndWrong) {
  Plan("- {stage: execution, kind: wrong_output, once: true}");
  Serve(Take(1, 1));
  Serve(Take(2, 1, kRoute, /*attempt=*/1));
  ASSERT_EQ(answers_.texts.size(), 2u);
  float values[2];
  for (int i = 0; i < 2; ++i) {
    const std::string& text = answers_.texts[i];
    auto pack = PackView::Open({reinterpret_cast<const std::byte*>(text.data()), text.size()});
    ASSERT_TRUE(pack.ok());
    memcpy(&values[i], pack->tensor(0).data.data(), 4);
  }
  EXPECT_NE(values[0], 1.5f);
  EXPECT_EQ(values[1], 1.5f) << "a replay is spared by `once`";
}

using FaultedWorkerDeathTest = FaultedWorkerTest;

TEST_F(FaultedWorkerDeathTest, ACrashIsTheSignalThatWasAskedFor) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";  // lanes' memory is not forked
  Plan("- {stage: execution, kind: crash, signal: BUS}");
  const WorkItem item = Take(1, 1);
  EXPECT_EXIT(worker_.Executing({&item, 1}, 0), ::testing::KilledBySignal(SIGBUS), "");
}

TEST_F(FaultedWorkerDeathTest, ALostDeviceIsItsExitCode) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  Plan("- {stage: execution, kind: device_lost}");
  const WorkItem item = Take(1, 1);
  EXPECT_EXIT(worker_.Executing({&item, 1}, 0), ::testing::ExitedWithCode(kExitDeviceLost), "");
  plan_ = FaultPlan::Make(WithRules("- {stage: execution, kind: device_lost}"), Stage::kExecution,
                          /*without_device=*/true);
  worker_.set_faults(plan_.get());
  worker_.Executing({&item, 1}, 0);  // nothing to lose
  EXPECT_EQ(Injected(), 0u);
}

}  // namespace
}  // namespace millrace
