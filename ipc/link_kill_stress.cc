#include <stdio.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipc/testing/link_torture.h"

namespace millrace {
namespace {

TEST(LinkKillStress, ThousandsOfKillsLeaveNothingHalfDone) {
  const LinkTortureResult result = RunLinkTorture(8000, 7);
  EXPECT_THAT(result.violations, ::testing::IsEmpty());
  printf("kills %d, entries taken %zu, surviving producers %d, surviving consumers %d\n",
         result.kills, size_t{result.taken}, result.surviving_producers,
         result.surviving_consumers);
}

}  // namespace
}  // namespace millrace
