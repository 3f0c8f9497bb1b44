#include "services/supervisor/restart_policy.h"

#include "gtest/gtest.h"

namespace millrace {
namespace {

TEST(RestartDelay, NoFailureNoDelayAndNoneAfterTheFirst) {
  EXPECT_EQ(RestartDelayNs(0, 0), 0);
  EXPECT_EQ(RestartDelayNs(0, 1), 0);
  EXPECT_EQ(RestartDelayNs(1, 1), 0);
}

TEST(RestartDelay, DoublesFromHundredMillisecondsAndStaysWithinBounds) {
  EXPECT_EQ(RestartDelayNs(2, 0), 100 * kNanosPerMilli);
  EXPECT_EQ(RestartDelayNs(3, 0), 200 * kNanosPerMilli);
  EXPECT_EQ(RestartDelayNs(6, 0), 1600 * kNanosPerMilli);
  for (uint32_t failures : {2u, 3u, 7u, 8u, 20u, 31u, 64u, UINT32_MAX}) {
    for (double random : {0.0, 0.3, 1.0}) {
      const int64_t delay = RestartDelayNs(failures, random);
      EXPECT_GE(delay, kMinBackOffNs) << failures;
      EXPECT_LE(delay, kMaxBackOffNs) << failures;
    }
  }
}

TEST(RestartDelay, NeverShrinksWithFailures) {
  for (uint32_t failures = 1; failures < 40; ++failures) {
    EXPECT_LE(RestartDelayNs(failures, 0.5), RestartDelayNs(failures + 1, 0.5));
  }
}

TEST(RestartDelay, TheLongestIsSpreadToo) {
  EXPECT_EQ(RestartDelayNs(30, 1), kMaxBackOffNs);
  EXPECT_LT(RestartDelayNs(30, 0), RestartDelayNs(30, 1) - kNanosPerSecond);
}

TEST(DeviceLosses, CountInARowThatALongLifeEnds) {
  EXPECT_EQ(DeviceLossesAfter(0, true, 0), 1u);
  EXPECT_EQ(DeviceLossesAfter(1, true, kDeviceProvenNs - 1), 2u);
  EXPECT_EQ(DeviceLossesAfter(2, true, kDeviceProvenNs), 1u);
  EXPECT_EQ(DeviceLossesAfter(2, false, kDeviceProvenNs - 1), 2u) << "another death is no cure";
  EXPECT_EQ(DeviceLossesAfter(2, false, kDeviceProvenNs), 0u);
  EXPECT_EQ(DeviceLossesAfter(kDeviceLossesToDoWithout, true, 0), kDeviceLossesToDoWithout);
}

TEST(Failures, OnlyThoseThatProvedNothingCount) {
  EXPECT_EQ(FailuresAfter(0, false, 0), 1u);
  EXPECT_EQ(FailuresAfter(3, false, kProvenNs - 1), 4u);
  EXPECT_EQ(FailuresAfter(3, true, 0), 0u);
  EXPECT_EQ(FailuresAfter(3, false, kProvenNs), 0u);
  EXPECT_EQ(FailuresAfter(UINT32_MAX, false, 0), UINT32_MAX);
}

}  // namespace
}  // namespace millrace
