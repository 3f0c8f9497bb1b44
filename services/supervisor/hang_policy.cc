#include "services/supervisor/hang_policy.h"

#include <algorithm>

namespace millrace {
namespace {

constexpr uint64_t kPredictedFactor = 10;

int64_t LimitNs(int64_t hang_ns, uint64_t predicted_ns) {
  const uint64_t longest = static_cast<uint64_t>(std::max(kLongestHangNs, hang_ns));
  const uint64_t predicted = std::min(predicted_ns, longest / kPredictedFactor);
  return std::max(hang_ns, static_cast<int64_t>(predicted * kPredictedFactor));
}

}  // namespace

int64_t SilenceAfter(int64_t silent_ns, bool beat_moved, int64_t elapsed_ns, int64_t period_ns) {
  if (beat_moved) return 0;
  return silent_ns + std::clamp<int64_t>(elapsed_ns, 0, period_ns);
}

HangVerdict DecideHang(const HangLook& look) {
  if (look.silent_ns < LimitNs(look.hang_ns, look.predicted_ns)) return HangVerdict::kWait;
  return look.stopped ? HangVerdict::kKill : HangVerdict::kAbort;
}

}  // namespace millrace
