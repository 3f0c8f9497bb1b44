#include <stdio.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipc/testing/effort.h"
#include "services/runtime/testing/kill_torture.h"

namespace millrace {
namespace {

TEST(WorkerKillStress, NothingIsLostOrDoubledOrLeakedInThousandsOfKills) {
  KillTortureResult sum;
  for (uint64_t seed = 1; seed <= Effort(6, 30); ++seed) {
    const KillTortureResult result = RunKillTorture(150, 100 * seed);
    ASSERT_THAT(result.violations, ::testing::IsEmpty()) << "seed " << seed;
    sum.kills += result.kills;
    sum.answered += result.answered;
    sum.replayed += result.replayed;
    sum.stale += result.stale;
  }
  printf("kills %d, requests answered once %zu, replayed %zu, late answers dropped %zu\n",
         sum.kills, size_t{sum.answered}, size_t{sum.replayed}, size_t{sum.stale});
}

}  // namespace
}  // namespace millrace
