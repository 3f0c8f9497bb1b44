// Workers that lose their device, and what workers tell of their kernels.
#include "services/supervisor/exit_codes.h"
#include "services/supervisor/fleet_fake.h"
#include "services/supervisor/restart_policy.h"

namespace millrace {
namespace {

class FleetDeviceTest : public FleetTest {
 protected:
  // What the newest execution worker was configured with.
  bool ToldToDoWithout() {
    const uint32_t key = KeyOf(Stage::kExecution);
    for (const Told& told : hands.told) {
      if (told.key == key && told.message.has_configure()) {
        return told.message.configure().without_device();
      }
    }
    ADD_FAILURE() << "it was not configured";
    return false;
  }
  uint32_t Losses() const { return fleet->slots().at({Stage::kExecution, 0}).device_losses; }
  // The worker dies; its page says why, or only its exit code does.
  void Lose(bool page_says_so) {
    const uint32_t key = KeyOf(Stage::kExecution);
    if (page_says_so) {
      hands.looks[key].device_lost = true;
      fleet->OnDeath(key, hands.now_ns);
    }
    fleet->OnEnd(key, {kExitDeviceLost, 0});
    hands.now_ns += 20 * kNanosPerSecond;
    fleet->Tick();
    Play();
    ASSERT_NE(KeyOf(Stage::kExecution), 0u);
  }
  FromProcess Choice(uint32_t route, int buckets = 1) {
    FromProcess message;
    message.mutable_kernel_choice()->set_route(route);
    for (int i = 0; i < buckets; ++i) message.mutable_kernel_choice()->add_buckets()->set_rows(1);
    return message;
  }
  const FleetProcess& Execution() { return fleet->processes().at(KeyOf(Stage::kExecution)); }
};

TEST_F(FleetDeviceTest, AfterThreeLossesInARowAWorkerDoesWithout) {
  StartAll();
  EXPECT_FALSE(ToldToDoWithout());
  Lose(true);
  EXPECT_EQ(Losses(), 1u) << "counted once, though page and exit code say so";
  EXPECT_FALSE(ToldToDoWithout());
  Lose(false);
  EXPECT_EQ(Losses(), 2u);
  EXPECT_FALSE(ToldToDoWithout());
  Lose(true);
  EXPECT_EQ(Losses(), kDeviceLossesToDoWithout);
  EXPECT_TRUE(ToldToDoWithout());
  EXPECT_EQ(fleet->phase(), FleetPhase::kRunning);
}

TEST_F(FleetDeviceTest, ALongLifeBetweenTwoLossesEndsTheRow) {
  StartAll();
  Lose(true);
  Lose(true);
  hands.now_ns += kDeviceProvenNs;
  Lose(true);
  EXPECT_EQ(Losses(), 1u);
  EXPECT_FALSE(ToldToDoWithout());
}

TEST_F(FleetDeviceTest, OtherDeathsAreNoLosses) {
  StartAll();
  for (int i = 0; i < 5; ++i) {
    const uint32_t key = KeyOf(Stage::kExecution);
    fleet->OnDeath(key, hands.now_ns);
    fleet->OnEnd(key, {0, 9});
    hands.now_ns += 20 * kNanosPerSecond;
    fleet->Tick();
    Play();
  }
  EXPECT_EQ(Losses(), 0u);
  EXPECT_FALSE(ToldToDoWithout());
}

TEST_F(FleetDeviceTest, ALostDeviceBeforeTheServerWasReadyDoesNotEndIt) {
  Make();
  fleet->Start();
  mute.insert(2);  // whoever is first
  Play();
  const uint32_t key = KeyOf(Stage::kExecution);
  fleet->OnEnd(key, {kExitDeviceLost, 0});
  EXPECT_EQ(fleet->phase(), FleetPhase::kRunning);
  EXPECT_EQ(Losses(), 1u);
  // A device that is demanded and not there does.
  hands.now_ns += 20 * kNanosPerSecond;
  fleet->Tick();
  fleet->OnEnd(KeyOf(Stage::kExecution), {kExitDevice, 0});
  EXPECT_NE(fleet->phase(), FleetPhase::kRunning);
}

TEST_F(FleetDeviceTest, ChoicesAreKeptForTheModelsOfTheCatalog) {
  StartAll();
  const uint32_t key = KeyOf(Stage::kExecution);
  Say(key, Choice(1));
  Say(key, Choice(77));
  ASSERT_EQ(Execution().kernels.size(), 1u);
  EXPECT_EQ(Execution().kernels.count(1), 1u);
  Publish(KeyOf(Stage::kRegistry), 2, 2);
  Play();
  Say(key, Choice(2));
  ASSERT_EQ(Execution().kernels.size(), 1u) << "the model that went is forgotten";
  EXPECT_EQ(Execution().kernels.count(2), 1u);
}

TEST_F(FleetDeviceTest, AReportThatCannotBeRightEndsItsSender) {
  StartAll();
  FromProcess report;
  report.mutable_device_report()->set_cpu("avx2");
  uint32_t key = KeyOf(Stage::kExecution);
  Say(key, report);
  EXPECT_EQ(Execution().device->cpu(), "avx2");
  Say(key, report);  // twice
  EXPECT_NE(KeyOf(Stage::kExecution), key);
  Play();
  key = KeyOf(Stage::kExecution);
  if (key == 0) {
    hands.now_ns += 20 * kNanosPerSecond;
    fleet->Tick();
    Play();
    key = KeyOf(Stage::kExecution);
  }
  ASSERT_NE(key, 0u);
  Say(key, Choice(1, 3000));  // too large
  EXPECT_NE(KeyOf(Stage::kExecution), key);
  for (const FromProcess& message : {report, Choice(1)}) {
    const uint32_t features = KeyOf(Stage::kFeatures);
    Say(features, message);  // of a stage that has no kernels
    EXPECT_NE(KeyOf(Stage::kFeatures), features);
    fleet->OnEnd(features, {0, 9});
    hands.now_ns += 20 * kNanosPerSecond;
    fleet->Tick();
    Play();
  }
}

}  // namespace
}  // namespace millrace
