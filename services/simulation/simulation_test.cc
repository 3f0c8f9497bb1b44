// Worlds of fixed seeds are clean, and a seed is the same history each time.
#include <gtest/gtest.h>

#include "services/simulation/world.h"

namespace millrace::sim {
namespace {

TEST(SimulationTest, ASeedIsTheSameHistoryEachTime) {
  Options options;
  for (options.seed = 1; options.seed <= 5; ++options.seed) {
    const Outcome first = RunSeed(options), second = RunSeed(options);
    EXPECT_EQ(first.hash, second.hash) << "seed " << options.seed;
    EXPECT_EQ(first.events, second.events);
  }
}

TEST(SimulationTest, AnotherSeedIsAnotherHistory) {
  Options options;
  const uint64_t first = RunSeed(options).hash;
  options.seed += 1;
  EXPECT_NE(first, RunSeed(options).hash);
}

TEST(SimulationTest, WorldsAreCleanAndAsLargeAsTheyShouldBe) {
  Options options;
  size_t replayed = 0, reset = 0;
  for (options.seed = 1; options.seed <= 60; ++options.seed) {
    const Outcome outcome = RunSeed(options);
    ASSERT_EQ(outcome.violation, "") << "simulate --trace --seed=" << options.seed;
    EXPECT_GE(outcome.requests, 1000u);
    EXPECT_GE(outcome.faults, 10u);
    EXPECT_GE(outcome.answered_ok, outcome.requests / 10) << "seed " << options.seed;
    replayed += outcome.replayed;
    reset += outcome.reset;
  }
  EXPECT_GT(replayed, 1000u);
  EXPECT_GT(reset, 100u);
}

}  // namespace
}  // namespace millrace::sim
