// The stage with a device (the fake plug-in's), and without.
#include <sys/mman.h>

#include "gmock/gmock.h"
#include "kernels/device/testing/fault_file.h"
#include "services/execution/stage_rig.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class ExecutionDeviceTest : public StageTest {
 protected:
  ExecutionDeviceTest() {
    config_.device_library = kFakePlugin;
    config_.device_from_rows = 1;
  }
  absl::Status Begin() { return StartStage({{kRoute, SampleXgboostPlan()}}); }
  const DeviceReport& Report() const { return told_.at(0).device_report(); }
  const KernelChoice& Choice() const { return told_.at(1).kernel_choice(); }

  FaultFile faults_{"faults"};
};

TEST_F(ExecutionDeviceTest, BatchesRunThereAndTheSupervisorIsTold) {
  ASSERT_TRUE(Begin().ok());
  EXPECT_THAT(Report().device(), HasSubstr("Fake device 0"));
  EXPECT_EQ(Report().state(), "ready");
  EXPECT_EQ(Report().cpu(), "watching");
  EXPECT_EQ(Report().why_not(), "");
  EXPECT_EQ(Choice().route(), kRoute);
  EXPECT_EQ(Choice().device_from_rows(), 1u);
  EXPECT_EQ(Choice().device_bytes(), 4321u);
  for (uint16_t slot = 0; slot < 8; ++slot) Ask(slot, 4);
  Serve();
  EXPECT_THAT(answered_, SizeIs(8));
  EXPECT_EQ(Count(Counter::kDeviceBatches), 1u);
  EXPECT_THAT(cpu_.runs, IsEmpty());
}

TEST_F(ExecutionDeviceTest, ASuspectRunsOnTheCpu) {
  ASSERT_TRUE(Begin().ok());
  Ask(0, 4);
  Ask(1, 5, kRoute, kFlagAlone);
  Serve();
  EXPECT_THAT(answered_, SizeIs(2));
  EXPECT_EQ(Count(Counter::kDeviceBatches), 1u);
  ASSERT_THAT(cpu_.runs, SizeIs(1));
  EXPECT_EQ(cpu_.runs[0].rows, 5u);
}

TEST_F(ExecutionDeviceTest, OutOfMemoryIsCountedAndAnsweredRight) {
  ASSERT_TRUE(Begin().ok());
  faults_.Set("run 6 1 1");
  Ask(0, 7);
  Serve();
  EXPECT_EQ(Count(Counter::kDeviceHalved), 1u);
  EXPECT_EQ(Count(Counter::kDeviceFellBack), 0u);
  EXPECT_THAT(cpu_.runs, IsEmpty());
  faults_.Set("run 6");
  Ask(1, 7);
  Serve();
  EXPECT_EQ(Count(Counter::kDeviceHalved), 2u);
  EXPECT_EQ(Count(Counter::kDeviceFellBack), 1u);
  EXPECT_EQ(Count(Counter::kDeviceBatches), 2u);
  EXPECT_THAT(answered_, SizeIs(2));
}

// Each of the fake plug-in's plans holds 4,321 bytes.
TEST_F(ExecutionDeviceTest, TheBudgetOfTheDeviceIsKeptAndTheRestRunsOnTheCpu) {
  constexpr uint16_t kFirst = 100, kFit = (1 << 20) / 4321;
  config_.execution_device_budget_mb = 1;
  std::map<uint32_t, std::vector<std::byte>> plans;
  for (uint16_t i = 0; i < kFit + 2; ++i) plans[kFirst + i] = SampleXgboostPlan();
  ASSERT_TRUE(StartStage(plans).ok());
  uint64_t held = 0, refused = 0;
  uint16_t on_device = 0, on_cpu = 0;
  for (const FromProcess& message : told_) {
    if (!message.has_kernel_choice()) continue;
    const KernelChoice& choice = message.kernel_choice();
    held += choice.device_bytes();
    (choice.device_bytes() > 0 ? on_device : on_cpu) = static_cast<uint16_t>(choice.route());
    if (choice.device_bytes() > 0) continue;
    ++refused;
    EXPECT_EQ(choice.why_not(),
              "it needs 4321 bytes on the device, and of "
              "execution.device_budget_mb 2894 are left");
  }
  EXPECT_EQ(held, kFit * 4321u);
  EXPECT_EQ(refused, 2u);
  Ask(0, 4, on_cpu);
  Serve();
  EXPECT_THAT(cpu_.runs, SizeIs(1));
  Ask(1, 4, on_device);
  Serve();
  EXPECT_EQ(Count(Counter::kDeviceBatches), 1u);
  // What is let go makes room.
  ASSERT_TRUE(TakeUp({{kRoute, SampleXgboostPlan()}}).ok());
  EXPECT_EQ(told_.back().kernel_choice().device_bytes(), 0u) << "the older ones are still there";
  Settle();
  ASSERT_TRUE(TakeUp({{kOtherRoute, SampleXgboostPlan()}}).ok());
  EXPECT_EQ(told_.back().kernel_choice().device_bytes(), 4321u);
}

using ExecutionDeviceDeathTest = ExecutionDeviceTest;

TEST_F(ExecutionDeviceDeathTest, ALostDeviceEndsTheProcessWithItsCode) {
  // In a process of its own: memory that is shared is not inherited by fork.
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  ASSERT_TRUE(Begin().ok());
  Ask(0, 7);
  worker_.Poll();
  faults_.Set("run 7");
  EXPECT_EXIT(stage_.Work(worker_), ::testing::ExitedWithCode(kExitDeviceLost),
              "event=device_lost why=\"run fails as asked\"");
  faults_.Set("open 7");
  EXPECT_EXIT((void)TakeUp({{kOtherRoute, SampleXgboostPlan()}}),
              ::testing::ExitedWithCode(kExitDeviceLost), "open fails as asked");
  faults_.Set("register 7");
  auto peer = rig_.View(execution_, ingress_);
  EXPECT_EXIT(stage_.OnPeerMapped(peer.get()), ::testing::ExitedWithCode(kExitDeviceLost),
              "register fails as asked");
}

TEST_F(ExecutionDeviceTest, WhatTheDeviceDoesNotTakeIsTheCpusAndTheReasonIsTold) {
  for (const int code : {4, 5, 6}) {
    told_.clear();
    cpu_.runs.clear();
    faults_.Set("open " + std::to_string(code));
    ASSERT_TRUE(StartStage({{static_cast<uint32_t>(kRoute + code), SampleXgboostPlan()}}).ok());
    EXPECT_THAT(Choice().why_not(), HasSubstr("open fails as asked"));
    EXPECT_EQ(Choice().device_from_rows(), 0u);
    Ask(static_cast<uint16_t>(code), 3, static_cast<uint16_t>(kRoute + code));
    Serve();
    EXPECT_THAT(cpu_.runs, SizeIs(1));
  }
  EXPECT_THAT(answered_, ElementsAre(4, 5, 6));
}

TEST_F(ExecutionDeviceTest, ItIsMeasuredWhereNothingIsConfigured) {
  config_.device_from_rows = 0;
  config_.max_batch_rows = 64;
  ASSERT_TRUE(Begin().ok());
  ASSERT_EQ(Choice().buckets_size(), 7);
  for (const auto& bucket : Choice().buckets()) {
    EXPECT_GT(bucket.cpu_ns(), 0u);
    EXPECT_GT(bucket.device_ns(), 0u);
  }
  EXPECT_EQ(Choice().buckets(6).rows(), 64u);
  EXPECT_THAT(faults_.Log(), HasSubstr("open 64 0"));
}

TEST_F(ExecutionDeviceTest, OneThatFailsWhileItIsMeasuredIsNotUsed) {
  config_.device_from_rows = 0;
  faults_.Set("run 6 9");
  ASSERT_TRUE(Begin().ok());
  EXPECT_THAT(Choice().why_not(), HasSubstr("failed when it was measured"));
  EXPECT_EQ(Choice().buckets_size(), 0);
  EXPECT_THAT(faults_.Log(), HasSubstr("close"));
  faults_.Set("");
  cpu_.runs.clear();
  Ask(0, 32);
  Serve();
  EXPECT_THAT(cpu_.runs, SizeIs(1));
}

TEST_F(ExecutionDeviceTest, WithoutOneTheReasonIsTold) {
  config_.device_library = "/no/such/plugin.so";
  ASSERT_TRUE(Begin().ok());
  EXPECT_EQ(Report().why_not(), "no device plug-in at /no/such/plugin.so; serving from the CPU");
  EXPECT_EQ(Report().state(), "no_library");
  Ask(0, 3);
  Serve();
  EXPECT_THAT(answered_, SizeIs(1));
  config_.device = "cuda";
  const absl::Status needed = StartStage({});
  EXPECT_TRUE(absl::IsFailedPrecondition(needed)) << needed;
  EXPECT_EQ(needed.message(), "execution.device is cuda: no device plug-in at /no/such/plugin.so");
}

TEST_F(ExecutionDeviceTest, ThePlugInIsNotTouchedWhereNobodyWantsIt) {
  config_.device = "cpu";
  ASSERT_TRUE(Begin().ok());
  EXPECT_EQ(Report().why_not(), "execution.device is cpu; serving from the CPU");
  told_.clear();
  config_.device = "cuda";
  without_device_ = true;
  ASSERT_TRUE(StartStage({}).ok());
  EXPECT_EQ(Report().why_not(), "the device was lost several times in a row; serving from the CPU");
  EXPECT_EQ(faults_.Log(), "");
}

// A message that is no UTF-8 would be refused whole, and the worker with it.
TEST_F(ExecutionDeviceTest, WhatIsToldCanAlwaysBeRead) {
  config_.device_library = "/no/\xff\xfe\n" + std::string(5000, 'x');
  ASSERT_TRUE(Begin().ok());
  FromProcess read;
  EXPECT_TRUE(read.ParseFromString(told_.at(0).SerializeAsString()));
  EXPECT_THAT(Report().why_not(), HasSubstr("/no/???xxx"));
  EXPECT_THAT(Report().why_not(), HasSubstr("x; serving from the CPU"));
  EXPECT_LT(told_.at(0).ByteSizeLong(), 1024u);
}

// A peer's arena is known to the device while it is mapped, and not a moment longer: the fake reads
// it when it is let go.
TEST_F(ExecutionDeviceTest, ArenasAreRegisteredWhileTheyAreMapped) {
  ASSERT_TRUE(Begin().ok());
  auto peer = std::make_shared<PeerLane>();
  peer->arena =
      Must(ArenaView::Open(ingress_.lane.arena().region().fd().get(), ingress_.incarnation()));
  const std::string bytes = std::to_string(peer->arena.all().size());
  stage_.OnPeerMapped(peer.get());
  EXPECT_THAT(faults_.Log(), HasSubstr(" register " + bytes));
  EXPECT_EQ(faults_.Log().find("unregister"), std::string::npos);
  peer.reset();
  EXPECT_THAT(faults_.Log(), HasSubstr("unregister " + bytes));
  faults_.Set("register 4");
  peer = std::make_shared<PeerLane>();
  peer->arena =
      Must(ArenaView::Open(ingress_.lane.arena().region().fd().get(), ingress_.incarnation()));
  stage_.OnPeerMapped(peer.get());
  EXPECT_EQ(peer->attached, nullptr) << "inputs are copied";
}

TEST_F(ExecutionDeviceTest, APlanThatStaysInTheCatalogStaysOpenAndOneThatGoesIsClosed) {
  const std::vector<std::byte> image = SampleXgboostPlan();
  ASSERT_TRUE(StartStage({{1, image}, {2, image}}).ok());
  EXPECT_EQ(cpu_.opened, 2);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(faults_.Log().find("close"), std::string::npos) << i;
    ASSERT_TRUE(TakeUp({{1, image}}).ok());
  }
  EXPECT_EQ(cpu_.opened, 2);
  EXPECT_THAT(faults_.Log(), HasSubstr("close"));
}

}  // namespace
}  // namespace millrace
