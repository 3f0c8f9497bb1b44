#include "ipc/waiter.h"

#include <stdio.h>

#include <thread>

#include "gtest/gtest.h"
#include "ipc/testing/park_race.h"

namespace millrace {
namespace {

class WaiterTest : public ::testing::Test {
 protected:
  Waker MakeWaker() { return Waker(&parked_, Fd(fcntl(waiter_.fd(), F_DUPFD_CLOEXEC, 0))); }
  bool Woken() { return waiter_.Sleep(0); }

  std::atomic<uint64_t> parked_{0};
  Waiter waiter_{&parked_, Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))};
};

TEST_F(WaiterTest, OnlyASleeperIsWoken) {
  Waker waker = MakeWaker();
  waker.Wake();
  EXPECT_FALSE(Woken());
  waiter_.Arm();
  EXPECT_FALSE(Woken());
  waker.Wake();
  EXPECT_TRUE(Woken());
  waiter_.Unpark();
  EXPECT_FALSE(Woken());  // the wake-up is used up
  waker.Wake();
  EXPECT_FALSE(Woken());
}

TEST_F(WaiterTest, OnceForEachSleepByEachProducer) {
  Waker one = MakeWaker(), two = MakeWaker();
  const auto writes = [&] {
    eventfd_t count = 0;
    eventfd_read(waiter_.fd(), &count);
    return count;
  };
  waiter_.Arm();
  one.Wake();
  one.Wake();
  one.Wake();
  EXPECT_EQ(writes(), 1u);
  two.Wake();
  two.Wake();
  EXPECT_EQ(writes(), 1u);
  waiter_.Unpark();
  waiter_.Arm();
  one.Wake();
  EXPECT_EQ(writes(), 1u);
}

TEST_F(WaiterTest, NoOddValueIsUsedTwice) {
  uint64_t last = 0;
  for (int i = 0; i < 100; ++i) {
    waiter_.Arm();
    EXPECT_EQ(parked_.load() % 2, 1u);
    EXPECT_GT(parked_.load(), last);
    last = parked_.load();
    waiter_.Unpark();
    EXPECT_EQ(parked_.load() % 2, 0u);
  }
}

TEST_F(WaiterTest, ASleepEndsByItself) {
  waiter_.Arm();
  EXPECT_FALSE(waiter_.Sleep(1));
  waiter_.Unpark();
}

TEST(WaiterRaceTest, NoWakeUpIsLost) {
  const ParkRaceResult result = RunParkRace(100'000, 1);
  EXPECT_EQ(result.lost, 0u);
  EXPECT_EQ(result.parks, 100'000u);
  EXPECT_GT(result.taken, 0u);
  EXPECT_GT(result.slept, 0u);
  printf("cancelled %zu, woken soon %zu, slept %zu\n", size_t{result.cancelled},
         size_t{result.woken_soon}, size_t{result.slept});
}

// The race would see it: with either fence left out the processor lets wake-ups be lost.
class WaiterRaceWithoutTest : public ::testing::TestWithParam<RaceFences> {};

TEST_P(WaiterRaceWithoutTest, WakeUpsAreLost) {
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "one core does not race with itself";
  const ParkRaceResult result = RunParkRace(2'000'000, 1, GetParam(), 3);
  EXPECT_EQ(result.lost, 3u) << "in " << result.parks << " parks";
  printf("lost 3 in %zu parks\n", size_t{result.parks});
}

INSTANTIATE_TEST_SUITE_P(AFence, WaiterRaceWithoutTest,
                         ::testing::Values(RaceFences::kWithoutF1, RaceFences::kWithoutF2));

}  // namespace
}  // namespace millrace
