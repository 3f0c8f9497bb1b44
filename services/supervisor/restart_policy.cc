#include "services/supervisor/restart_policy.h"

#include <algorithm>

#include "common/check.h"

namespace millrace {
namespace {

// The longest delay before jitter; with all of the jitter it is kMaxBackOffNs.
constexpr double kJitter = 0.25;
constexpr int64_t kLongestNs = static_cast<int64_t>(kMaxBackOffNs / (1 + kJitter));

}  // namespace

int64_t RestartDelayNs(uint32_t failures_in_a_row, double random) {
  MR_CHECK(random >= 0 && random <= 1, "a random number of the back-off lies in [0, 1]");
  if (failures_in_a_row <= kFreeRetries) return 0;
  const uint32_t doublings = std::min<uint32_t>(failures_in_a_row - kFreeRetries - 1, 20);
  const int64_t delay = std::min(kMinBackOffNs << doublings, kLongestNs);
  return delay + static_cast<int64_t>(static_cast<double>(delay) * kJitter * random);
}

uint32_t DeviceLossesAfter(uint32_t losses_before, bool lost, int64_t ready_for_ns) {
  const uint32_t row = ready_for_ns >= kDeviceProvenNs ? 0 : losses_before;
  return lost && row < kDeviceLossesToDoWithout ? row + 1 : row;
}

uint32_t FailuresAfter(uint32_t failures_before, bool answered, int64_t ready_for_ns) {
  if (answered || ready_for_ns >= kProvenNs) return 0;
  return failures_before == UINT32_MAX ? failures_before : failures_before + 1;
}

}  // namespace millrace
