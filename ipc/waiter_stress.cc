// Millions of parkings in a race with two producers.
#include <stdio.h>

#include "gtest/gtest.h"
#include "ipc/testing/effort.h"
#include "ipc/testing/park_race.h"

namespace millrace {
namespace {

constexpr uint64_t kRuns = 10;

TEST(WaiterStress, NoWakeUpIsLost) {
  const uint64_t parks = Effort(1'000'000, 10'000'000);
  ParkRaceResult sum;
  for (uint64_t seed = 1; seed <= kRuns; ++seed) {
    const ParkRaceResult result = RunParkRace(parks / kRuns, 1000 * seed);
    ASSERT_EQ(result.lost, 0u) << "seed " << seed;
    sum.parks += result.parks;
    sum.cancelled += result.cancelled;
    sum.woken_soon += result.woken_soon;
    sum.slept += result.slept;
    sum.taken += result.taken;
  }
  EXPECT_EQ(sum.parks, parks);
  printf("parks %zu: cancelled at the second look %zu, woken soon %zu, slept %zu, lost 0\n",
         size_t{sum.parks}, size_t{sum.cancelled}, size_t{sum.woken_soon}, size_t{sum.slept});
}

}  // namespace
}  // namespace millrace
