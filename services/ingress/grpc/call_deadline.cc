#include "services/ingress/grpc/call_deadline.h"

#include <algorithm>

#include "common/clock.h"

namespace millrace {

int64_t DeadlineNanos(const grpc::ServerContext& context) {
  const gpr_timespec deadline = gpr_convert_clock_type(context.raw_deadline(), GPR_CLOCK_MONOTONIC);
  if (gpr_time_cmp(deadline, gpr_inf_future(GPR_CLOCK_MONOTONIC)) == 0) return 0;
  return deadline.tv_sec * kNanosPerSecond + deadline.tv_nsec;
}

int64_t RequestDeadlineNanos(int64_t call_deadline_ns, int64_t timeout_ns) {
  if (timeout_ns == 0) return call_deadline_ns;
  const int64_t own_ns = MonotonicNanos() + timeout_ns;
  return call_deadline_ns == 0 ? own_ns : std::min(call_deadline_ns, own_ns);
}

}  // namespace millrace
