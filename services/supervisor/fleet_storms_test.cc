// What ingress is told of a stage that dies again and again.
#include <signal.h>

#include "services/supervisor/fleet_fake.h"

namespace millrace {
namespace {

class FleetStormsTest : public FleetTest {
 protected:
  // Execution dies before it answered, and comes back after its back-off.
  void DieAndReturn() {
    const uint32_t key = KeyOf(Stage::kExecution);
    fleet->OnDeath(key, hands.now_ns);
    fleet->OnEnd(key, {0, SIGSEGV});
    for (int i = 0; i < 1000 && KeyOf(Stage::kExecution) == 0; ++i) {
      Tick();
      Play();
    }
    Play();
    ASSERT_NE(KeyOf(Stage::kExecution), 0u);
  }
  // The states that ingress was told, in order.
  std::vector<uint32_t> Told() const {
    std::vector<uint32_t> states;
    for (const auto& told : hands.told) {
      if (!told.message.has_stage_breaker()) continue;
      EXPECT_EQ(told.key, KeyOf(Stage::kIngress));
      EXPECT_EQ(told.message.stage_breaker().stage(), static_cast<uint32_t>(Stage::kExecution));
      states.push_back(told.message.stage_breaker().state());
    }
    return states;
  }
};

TEST_F(FleetStormsTest, IngressIsToldAndTheStageIsStartedAllTheSame) {
  Config config;
  config.storm_intensity = 3;
  config.storm_rest_ms = 1000;
  StartAll(config);
  for (int i = 0; i < 2; ++i) DieAndReturn();
  EXPECT_TRUE(Told().empty());
  DieAndReturn();
  EXPECT_EQ(Told(), std::vector<uint32_t>({1}));
  for (int i = 0; i < 25; ++i) Tick();
  EXPECT_EQ(Told(), std::vector<uint32_t>({1, 2}));
  hands.looks[KeyOf(Stage::kExecution)].answered = true;
  Tick();
  EXPECT_EQ(Told(), std::vector<uint32_t>({1, 2, 0}));
}

TEST_F(FleetStormsTest, DeathsThatARequestIsToBlameForAreNotTheStages) {
  Config config;
  config.storm_intensity = 2;
  StartAll(config);
  for (int i = 0; i < 5; ++i) {
    hands.looks[KeyOf(Stage::kExecution)].executing = true;
    DieAndReturn();
  }
  EXPECT_TRUE(Told().empty());
}

TEST_F(FleetStormsTest, ANewIngressIsToldWhatStands) {
  Config config;
  config.storm_intensity = 1;
  config.storm_rest_ms = 3'600'000;
  StartAll(config);
  DieAndReturn();
  const size_t before = Told().size();
  EXPECT_EQ(before, 1u);
  const uint32_t old = KeyOf(Stage::kIngress);
  hands.looks[old].answered = true;
  fleet->OnDeath(old, hands.now_ns);
  Play();
  ASSERT_NE(KeyOf(Stage::kIngress), old);
  EXPECT_EQ(CountTold(KeyOf(Stage::kIngress), ToProcess::kStageBreaker), 1u);
}

}  // namespace
}  // namespace millrace
