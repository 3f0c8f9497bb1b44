#include "services/supervisor/hang_policy.h"

#include "gtest/gtest.h"

namespace millrace {
namespace {

constexpr int64_t kMs = kNanosPerMilli;

TEST(Silence, GrowsByWhatPassedAndEndsWithABeat) {
  EXPECT_EQ(SilenceAfter(100, false, 50, 60), 150);
  EXPECT_EQ(SilenceAfter(100, true, 50, 60), 0);
}

TEST(Silence, ALateSupervisorAddsOnePeriodOnly) {
  EXPECT_EQ(SilenceAfter(0, false, 3'600'000 * kMs, 50 * kMs), 50 * kMs);
  EXPECT_EQ(SilenceAfter(7, false, -5, 50 * kMs), 7);
}

TEST(Hang, WaitsUpToTheLimit) {
  HangLook look{999 * kMs, 1000 * kMs, 0, false};
  EXPECT_EQ(DecideHang(look), HangVerdict::kWait);
  look.silent_ns = 1000 * kMs;
  EXPECT_EQ(DecideHang(look), HangVerdict::kAbort);
}

TEST(Hang, LongWorkHasTenTimesItsPrediction) {
  HangLook look{1999 * kMs, 1000 * kMs, 200 * kMs, false};
  EXPECT_EQ(DecideHang(look), HangVerdict::kWait);
  look.silent_ns = 2000 * kMs;
  EXPECT_EQ(DecideHang(look), HangVerdict::kAbort);
  // A short prediction does not shorten the configured limit.
  look.predicted_ns = 1;
  look.silent_ns = 999 * kMs;
  EXPECT_EQ(DecideHang(look), HangVerdict::kWait);
}

TEST(Hang, AnAbsurdPredictionHidesNoHang) {
  for (uint64_t predicted : {uint64_t{1} << 40, uint64_t{1} << 62, UINT64_MAX}) {
    HangLook look{kLongestHangNs - 1, 1000 * kMs, predicted, false};
    EXPECT_EQ(DecideHang(look), HangVerdict::kWait);
    look.silent_ns = kLongestHangNs;
    EXPECT_EQ(DecideHang(look), HangVerdict::kAbort) << predicted;
  }
}

TEST(Hang, AConfiguredLimitBeyondTheLongestHolds) {
  HangLook look{kLongestHangNs + 1, 2 * kLongestHangNs, UINT64_MAX, false};
  EXPECT_EQ(DecideHang(look), HangVerdict::kWait);
  look.silent_ns = 2 * kLongestHangNs;
  EXPECT_EQ(DecideHang(look), HangVerdict::kAbort);
}

TEST(Hang, AStoppedProcessIsKilledAtOnce) {
  HangLook look{1000 * kMs, 1000 * kMs, 0, true};
  EXPECT_EQ(DecideHang(look), HangVerdict::kKill);
  look.silent_ns = 0;
  EXPECT_EQ(DecideHang(look), HangVerdict::kWait);
}

}  // namespace
}  // namespace millrace
