#include "ipc/waiter.h"

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
  const ParkRaceResult result = RunParkRace(10'000, 1);
  EXPECT_EQ(result.lost, 0u);
  EXPECT_EQ(result.parks, 10'000u);
  EXPECT_GT(result.taken, 0u);
  EXPECT_GT(result.slept, 0u);
  RecordProperty("cancelled", static_cast<int>(result.cancelled));
}

}  // namespace
}  // namespace millrace
