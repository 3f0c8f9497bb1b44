#include "services/ingress/core/stage_gate.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

constexpr StageNeed kFeatures = {Stage::kFeatures, 1, 0, 1};
constexpr StageNeed kExecution = {Stage::kExecution, 1, 0, 1};
constexpr StageNeed kRaw[] = {kFeatures, kExecution};
constexpr StageNeed kReady[] = {kExecution};

TEST(StageGateTest, OnlyWhatNeedsAnOpenStageIsRefused) {
  StageGate gate;
  EXPECT_FALSE(gate.troubled());
  gate.Set(Stage::kFeatures, BreakerState::kOpen);
  EXPECT_TRUE(gate.troubled() && gate.any_open());
  EXPECT_FALSE(gate.Admit(kRaw).admitted);
  EXPECT_TRUE(gate.Admit(kReady).admitted);
  EXPECT_FALSE(gate.Admit(kReady).probe);
  gate.Set(Stage::kFeatures, BreakerState::kClosed);
  EXPECT_FALSE(gate.troubled() || gate.any_open());
  EXPECT_TRUE(gate.Admit(kRaw).admitted);
}

TEST(StageGateTest, HalfOpenOneIsOnItsWayAtATime) {
  StageGate gate;
  gate.Set(Stage::kExecution, BreakerState::kHalfOpen);
  EXPECT_FALSE(gate.any_open());
  EXPECT_TRUE(gate.Admit(kReady).probe);
  EXPECT_FALSE(gate.Admit(kRaw).admitted);
  gate.ProbeEnded();
  EXPECT_TRUE(gate.Admit(kRaw).probe);
}

TEST(StageGateTest, ARefusedRequestIsNoProbe) {
  StageGate gate;
  gate.Set(Stage::kFeatures, BreakerState::kHalfOpen);
  gate.Set(Stage::kExecution, BreakerState::kOpen);
  EXPECT_FALSE(gate.Admit(kRaw).admitted);
  gate.Set(Stage::kExecution, BreakerState::kClosed);
  EXPECT_TRUE(gate.Admit(kRaw).probe);
}

}  // namespace
}  // namespace millrace
