// Many worlds, each of its own seed: a fixed set by default, more when asked
// (ipc/testing/effort.h).
#include <gtest/gtest.h>

#include "ipc/testing/effort.h"
#include "services/simulation/world.h"

namespace millrace::sim {
namespace {

TEST(SimulationStress, WorldsAreClean) {
  Options options;
  const uint64_t last = 1000 + Effort(1'000, 20'000);
  for (options.seed = 1001; options.seed <= last; ++options.seed) {
    const Outcome outcome = RunSeed(options);
    ASSERT_EQ(outcome.violation, "") << "simulate --trace --seed=" << options.seed;
  }
}

}  // namespace
}  // namespace millrace::sim
