// Some dozen kills at either end of a link; link_kill_stress has thousands.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipc/testing/link_torture.h"

namespace millrace {
namespace {

TEST(LinkKillTest, AKillLeavesNothingHalfDone) {
  const LinkTortureResult result = RunLinkTorture(100, 1);
  EXPECT_THAT(result.violations, ::testing::IsEmpty());
  EXPECT_GT(result.taken, 0u);
  EXPECT_GT(result.surviving_consumers, 10);
  EXPECT_GT(result.surviving_producers, 10);
}

}  // namespace
}  // namespace millrace
