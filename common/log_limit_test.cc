#include "common/log_limit.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace millrace {
namespace {

// How many of `lines` at once go out.
int Admitted(LogLimit* limit, std::string_view event, int lines, int64_t now_ns) {
  int count = 0;
  uint64_t suppressed;
  for (int i = 0; i < lines; ++i) count += limit->Admit(event, now_ns, &suppressed);
  return count;
}

TEST(LogLimit, ABurstGoesOutAndNoMore) {
  LogLimit limit;
  EXPECT_EQ(Admitted(&limit, "e", 1000, kNanosPerSecond), LogLimit::kBurst);
  EXPECT_EQ(Admitted(&limit, "other", 1000, kNanosPerSecond), LogLimit::kBurst)
      << "one event takes nothing from another";
}

TEST(LogLimit, TheBucketFillsAgainAndNoFurther) {
  LogLimit limit;
  int64_t now = kNanosPerSecond;
  Admitted(&limit, "e", 1000, now);
  EXPECT_EQ(Admitted(&limit, "e", 1000, now += kNanosPerSecond), LogLimit::kPerSecond);
  EXPECT_EQ(Admitted(&limit, "e", 1000, now += 3600 * kNanosPerSecond), LogLimit::kBurst);
}

TEST(LogLimit, TheNextLineSaysHowManyWereNotAndOnlyOnce) {
  LogLimit limit;
  int64_t now = kNanosPerSecond;
  Admitted(&limit, "e", LogLimit::kBurst + 17, now);
  now += kNanosPerSecond;
  uint64_t suppressed;
  ASSERT_TRUE(limit.Admit("e", now, &suppressed));
  EXPECT_EQ(suppressed, 17u);
  ASSERT_TRUE(limit.Admit("e", now, &suppressed));
  EXPECT_EQ(suppressed, 0u);
}

TEST(LogLimit, EventsWithoutAPlaceAreLetThrough) {
  LogLimit limit;
  for (size_t i = 0; i < LogLimit::kEvents; ++i) {
    Admitted(&limit, "event" + std::to_string(i), 1, kNanosPerSecond);
  }
  EXPECT_EQ(Admitted(&limit, "one_more", 1000, kNanosPerSecond), 1000);
  EXPECT_LT(Admitted(&limit, "event7", 1000, kNanosPerSecond), 1000)
      << "those with one are limited";
}

TEST(LogLimit, ThreadsLoseNoCount) {
  constexpr int kThreads = 4, kEach = 500'000;
  auto limit = std::make_unique<LogLimit>();
  std::atomic<uint64_t> out{0}, said{0};
  std::atomic<int> there{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (++there; there < kThreads;) {
      }
      for (int i = 0; i < kEach; ++i) {
        uint64_t suppressed;
        if (limit->Admit("e", kNanosPerSecond, &suppressed)) out += 1, said += suppressed;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  uint64_t suppressed;
  ASSERT_TRUE(limit->Admit("e", 2 * kNanosPerSecond, &suppressed));
  EXPECT_EQ(out + said + suppressed, uint64_t{kThreads} * kEach);
  EXPECT_GE(out, static_cast<uint64_t>(LogLimit::kBurst));
}

}  // namespace
}  // namespace millrace
