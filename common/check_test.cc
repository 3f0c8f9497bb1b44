#include "common/check.h"

#include <gtest/gtest.h>

#include "common/clock.h"

namespace millrace {
namespace {

TEST(CheckDeathTest, AFailureSaysWhereWhatAndWhyAndAborts) {
  EXPECT_DEATH(MR_CHECK(1 + 1 == 3, "sums must hold"),
               "check_test.cc:[0-9]+: check failed: 1 \\+ 1 == 3: sums must hold");
}

TEST(CheckDeathTest, ASentenceLongerThanTheBufferIsCutNotOverrun) {
  static char sentence[2000];
  for (char& c : sentence) c = 'x';
  sentence[sizeof sentence - 1] = '\0';
  EXPECT_DEATH(MR_CHECK(false, sentence), "check failed: false: x{300}");
}

TEST(Check, TheConditionIsEvaluatedOnce) {
  int evaluated = 0;
  MR_CHECK(++evaluated == 1, "must not be evaluated twice");
  EXPECT_EQ(evaluated, 1);
}

TEST(Clock, DoesNotGoBackAndCountsNanoseconds) {
  timespec before, after;
  clock_gettime(CLOCK_MONOTONIC, &before);
  const int64_t now = MonotonicNanos();
  clock_gettime(CLOCK_MONOTONIC, &after);
  EXPECT_GE(now, before.tv_sec * kNanosPerSecond + before.tv_nsec);
  EXPECT_LE(now, after.tv_sec * kNanosPerSecond + after.tv_nsec);
}

}  // namespace
}  // namespace millrace
