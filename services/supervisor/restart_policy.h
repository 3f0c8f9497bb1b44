// When the next incarnation starts: at once, or after a back-off.
//
// Purpose: a worker that did its work and died is replaced without delay; one that dies before it
//   answers anything does not take the machine with it. Who may call: any thread; pure functions.
// Invariants: 1. no failure, no delay, and none after the first in a row: one that was killed from
//   outside before it was asked anything comes back at once. 2. A delay lies within 100 ms and
//   10 s, grows with the number of failures in a row, and never becomes "for ever". 3. Jitter
//   spreads restarts at every step, the longest included.
#pragma once

#include <stdint.h>

#include "common/clock.h"

namespace millrace {

inline constexpr int64_t kMinBackOffNs = 100 * kNanosPerMilli;
inline constexpr int64_t kMaxBackOffNs = 10 * kNanosPerSecond;
// One that was ready for this long has proved that it can live, even if nobody asked it anything.
inline constexpr int64_t kProvenNs = 10 * kNanosPerSecond;

inline constexpr uint32_t kFreeRetries = 1;

// `random` lies in [0, 1].
int64_t RestartDelayNs(uint32_t failures_in_a_row, double random);

// How many failures in a row stand after an incarnation that ended.
uint32_t FailuresAfter(uint32_t failures_before, bool answered, int64_t ready_for_ns);

// After so many losses of the device in a row a worker starts without it: it serves from the CPU.
inline constexpr uint32_t kDeviceLossesToDoWithout = 3;
// One that was ready for this long ends the row.
inline constexpr int64_t kDeviceProvenNs = 60 * kNanosPerSecond;

// How many losses of the device in a row stand after an incarnation that ended.
uint32_t DeviceLossesAfter(uint32_t losses_before, bool lost, int64_t ready_for_ns);

}  // namespace millrace
