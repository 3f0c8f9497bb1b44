#include "services/simulation/virtual_time.h"

#include <time.h>

#include "common/check.h"
#include "common/clock.h"

namespace millrace::sim {

int64_t VirtualTime::now_ns_ = -1;
int64_t VirtualTime::wall_offset_ns_ = 0;

void VirtualTime::Set(int64_t now_ns) {
  MR_CHECK(now_ns >= now_ns_, "the world's time does not go back");
  if (now_ns_ < 0) wall_offset_ns_ = int64_t{1'700'000'000} * kNanosPerSecond;
  now_ns_ = now_ns;
}

}  // namespace millrace::sim

extern "C" {

int __real_clock_gettime(clockid_t id, timespec* time);

int __wrap_clock_gettime(clockid_t id, timespec* time) {
  using millrace::kNanosPerSecond;
  using millrace::sim::VirtualTime;
  if (VirtualTime::now_ns() < 0) return __real_clock_gettime(id, time);
  const bool wall = id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE;
  const int64_t now_ns = wall ? VirtualTime::wall_ns() : VirtualTime::now_ns();
  time->tv_sec = now_ns / kNanosPerSecond;
  time->tv_nsec = now_ns % kNanosPerSecond;
  return 0;
}

// MachineTime::KernelCounts: the processor's counter knows nothing of the world's time.
bool __wrap__ZN8millrace11MachineTime12KernelCountsEv() { return false; }

}  // extern "C"
