// A million parkings in a race with two producers.
#include <stdio.h>

#include "gtest/gtest.h"
#include "ipc/testing/park_race.h"

namespace millrace {
namespace {

TEST(WaiterStress, NoWakeUpIsLostInAMillionParks) {
  ParkRaceResult sum;
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    const ParkRaceResult result = RunParkRace(100'000, 1000 * seed);
    ASSERT_EQ(result.lost, 0u) << "seed " << seed;
    sum.parks += result.parks;
    sum.cancelled += result.cancelled;
    sum.slept += result.slept;
    sum.taken += result.taken;
  }
  printf("parks %zu, cancelled at the second look %zu, slept %zu, messages %zu, lost 0\n",
         size_t{sum.parks}, size_t{sum.cancelled}, size_t{sum.slept}, size_t{sum.taken});
}

}  // namespace
}  // namespace millrace
