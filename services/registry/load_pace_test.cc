#include "services/registry/load_pace.h"

#include "gtest/gtest.h"

namespace millrace {
namespace {

constexpr int64_t kInterval = 1'000;
constexpr int64_t kStart = 5'000'000;

// Begins loads at `now` until one has to wait; how many there were.
int Begin(LoadPace* pace, int64_t now) {
  int count = 0;
  for (; pace->WaitNs(now) == 0 && count < 100; ++count) pace->Began(now);
  return count;
}

TEST(LoadPaceTest, ABurstThenOneInEachInterval) {
  LoadPace pace(kInterval);
  EXPECT_EQ(Begin(&pace, kStart), LoadPace::kBurst);
  for (int i = 1; i <= 20; ++i) {
    const int64_t next = kStart + i * kInterval;
    EXPECT_EQ(pace.WaitNs(next - 300), 300);
    EXPECT_EQ(Begin(&pace, next), 1) << i;
  }
}

TEST(LoadPaceTest, QuietIntervalsGiveTheBurstBackAndNoMore) {
  LoadPace pace(kInterval);
  Begin(&pace, kStart);
  EXPECT_EQ(Begin(&pace, kStart + 3 * kInterval), 3);
  EXPECT_EQ(Begin(&pace, kStart + 1000 * kInterval), LoadPace::kBurst);
}

TEST(LoadPaceTest, WithoutAnIntervalNoneWaits) {
  LoadPace pace(0);
  EXPECT_EQ(Begin(&pace, kStart), 100);
}

}  // namespace
}  // namespace millrace
