// The one clock of the data plane.
//
// Purpose: every deadline, beat and delay is CLOCK_MONOTONIC nanoseconds, so that a step of the
//   wall clock cannot expire a request. Who may call: any thread. Nothing fails.
#pragma once

#include <stdint.h>
#include <time.h>

namespace millrace {

inline constexpr int64_t kNanosPerMicro = 1'000;
inline constexpr int64_t kNanosPerMilli = 1'000'000;
inline constexpr int64_t kNanosPerSecond = 1'000'000'000;

// Nanoseconds since an arbitrary start, the same for all processes of this machine.
inline int64_t MonotonicNanos() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kNanosPerSecond + now.tv_nsec;
}

}  // namespace millrace
