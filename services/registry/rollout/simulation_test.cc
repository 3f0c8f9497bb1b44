// Whole rollouts by seed: good, slow, wrong and crashing versions, in fair and in foul weather.
#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "gtest/gtest.h"
#include "services/registry/rollout/testing/versions.h"

namespace millrace {
namespace {

constexpr int kSeeds = 50;
constexpr size_t kRequests = 400;  // a second
constexpr Weather kFair = {}, kFoul = {0.05, 0.01};

struct Outcome {
  RolloutPhase phase = RolloutPhase::kRunning;
  size_t step = 0;
  std::string reason;
  int seconds = 0;
};

Outcome RunOne(uint64_t seed, Behaviour candidate, Weather weather, bool shadow_first = false) {
  FakeHands hands;
  hands.latest = "1";
  Versions versions(&hands, seed, candidate, weather);
  RolloutController controller(&hands);
  nlohmann::json start = {{"verb", "rollout"},  {"action", "start"},
                          {"name", "churn"},    {"to", "2"},
                          {"every_ms", 60'000}, {"shadow_first", shadow_first}};
  EXPECT_TRUE(controller.Command(start.dump(), "ann").ok());
  const Rollout& rollout = controller.rollouts().at("churn");
  Outcome outcome;
  while (!HasEnded(rollout.phase) && outcome.seconds < 3600) {
    controller.OnStatistics(versions.Second(kRequests));
    controller.Tick();
    ++outcome.seconds;
  }
  outcome.phase = rollout.phase;
  outcome.step = rollout.step;
  outcome.reason = rollout.reason;
  return outcome;
}

// Outcomes other than `right`, of all seeds; says at which steps and when.
int Wrong(const char* what, RolloutPhase right, Behaviour candidate, Weather weather,
          size_t latest_step, bool shadow_first = false) {
  int wrong = 0, late = 0, longest = 0;
  for (int seed = 1; seed <= kSeeds; ++seed) {
    const Outcome outcome = RunOne(static_cast<uint64_t>(seed), candidate, weather, shadow_first);
    longest = std::max(longest, outcome.seconds);
    if (outcome.phase != right) {
      ++wrong;
      std::cout << what << ", seed " << seed << ": " << PhaseName(outcome.phase) << " at step "
                << outcome.step << ": " << outcome.reason << "\n";
    } else if (right == RolloutPhase::kRolledBack && outcome.step > latest_step) {
      ++late;
    }
  }
  std::cout << what << (weather.lost > 0 ? " (5 % delay, 1 % loss)" : "") << ": " << wrong
            << " wrong of " << kSeeds << ", " << late << " after step " << latest_step
            << ", longest " << longest << " s\n";
  return wrong + late;
}

TEST(RolloutSimulation, AGoodVersionIsPromoted) {
  EXPECT_EQ(Wrong("good", RolloutPhase::kPromoted, {}, kFair, 0), 0);
  EXPECT_EQ(Wrong("good", RolloutPhase::kPromoted, {}, kFoul, 0), 0);
  EXPECT_EQ(Wrong("good, shadow first", RolloutPhase::kPromoted, {}, kFoul, 0, true), 0);
}

TEST(RolloutSimulation, ASlowVersionIsTakenBackInTheFirstStep) {
  Behaviour slow;
  slow.median_ms = 30;
  EXPECT_EQ(Wrong("slow", RolloutPhase::kRolledBack, slow, kFair, 0), 0);
  EXPECT_EQ(Wrong("slow", RolloutPhase::kRolledBack, slow, kFoul, 0), 0);
}

// 3 % of rows, where 1 % is the limit: some 800 copies are needed, a quarter of them is what the
// first step has.
TEST(RolloutSimulation, AVersionWrongOn3PercentIsTakenBackInTheSecondStep) {
  Behaviour wrong;
  wrong.changed = 0.03;
  EXPECT_EQ(Wrong("wrong", RolloutPhase::kRolledBack, wrong, kFair, 1), 0);
  EXPECT_EQ(Wrong("wrong", RolloutPhase::kRolledBack, wrong, kFoul, 1), 0);
  EXPECT_EQ(Wrong("wrong, shadow first", RolloutPhase::kRolledBack, wrong, kFoul, 0, true), 0);
}

TEST(RolloutSimulation, ACrashingVersionIsTakenBackAtOnce) {
  Behaviour always, rarely;
  always.crashes = 1;
  rarely.crashes = 0.03;
  EXPECT_EQ(Wrong("crashing", RolloutPhase::kRolledBack, always, kFair, 0), 0);
  EXPECT_EQ(Wrong("crashing", RolloutPhase::kRolledBack, always, kFoul, 0), 0);
  EXPECT_EQ(Wrong("crashing on 3 %", RolloutPhase::kRolledBack, rarely, kFoul, 0), 0);
  for (uint64_t seed = 1; seed <= 5; ++seed) EXPECT_LE(RunOne(seed, always, kFair).seconds, 5);
}

TEST(RolloutSimulation, AVersionThatFailsIsTakenBack) {
  Behaviour failing;
  failing.errors = 0.05;
  EXPECT_EQ(Wrong("failing on 5 %", RolloutPhase::kRolledBack, failing, kFair, 0), 0);
  EXPECT_EQ(Wrong("failing on 5 %", RolloutPhase::kRolledBack, failing, kFoul, 1), 0);
}

}  // namespace
}  // namespace millrace
