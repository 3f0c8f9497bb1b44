// A few dozen kills of real workers under load; worker_kill_stress has thousands.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/runtime/testing/kill_torture.h"

namespace millrace {
namespace {

TEST(WorkerKillTest, NothingIsLostOrDoubledOrLeaked) {
  const KillTortureResult result = RunKillTorture(30, 1);
  EXPECT_THAT(result.violations, ::testing::IsEmpty());
  EXPECT_EQ(result.kills, 30);
  EXPECT_GT(result.answered, 100u);
  EXPECT_GT(result.replayed, 10u);
}

}  // namespace
}  // namespace millrace
