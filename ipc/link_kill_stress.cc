// Thousands of rounds of kills at both ends of links.
#include <stdio.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipc/testing/effort.h"
#include "ipc/testing/link_torture.h"

namespace millrace {
namespace {

TEST(LinkKillStress, ThousandsOfKillsLoseNothingDoubleNothingLeakNothing) {
  const LinkTortureResult result = RunLinkTorture(static_cast<int>(Effort(2000, 20'000)), 7);
  EXPECT_THAT(result.violations, ::testing::IsEmpty());
  printf(
      "rounds %d: owners killed %d, workers %d, both in a round %d, while linking %d\n"
      "entries opened %zu, done once %zu, sent again %zu, blocks taken back %zu\n"
      "sleeps %zu, ended by the death of a sender that had not woken yet %zu\n",
      result.rounds, result.owners_killed, result.workers_killed, result.both_killed,
      result.unlinked, size_t{result.opened}, size_t{result.done}, size_t{result.sent_again},
      size_t{result.taken_back}, size_t{result.slept}, size_t{result.rescues});
}

}  // namespace
}  // namespace millrace
