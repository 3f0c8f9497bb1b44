// A race for the moment of parking: producers that publish one message at a time, with gaps as long
// as the consumer needs to park.
//
// Purpose: a lost wake-up must show. Producers that never pause hide it, since the next publish
//   wakes; so each waits for its message to be taken, and the consumer, at a time-out, asks whether
//   a producer had finished its Wake although nothing woke. Without one of the fences the race
//   finds lost wake-ups: that is what shows that it races. Who may call: waiter's test and stress.
// Ownership: none. What fails: set-up ends the process.
#pragma once

#include <stdint.h>

namespace millrace {

enum class RaceFences { kBoth, kWithoutF1, kWithoutF2 };

struct ParkRaceResult {
  uint64_t parks = 0;       // times the consumer armed
  uint64_t cancelled = 0;   // of these, work was found at the second look
  uint64_t woken_soon = 0;  // of these, the wake-up came before it slept
  uint64_t slept = 0;       // of these, it slept
  uint64_t lost = 0;        // slept on although a finished Wake had announced a message
  uint64_t taken = 0;
};

// Two producer threads; until the consumer has parked `parks` times, or lost `most_lost` wake-ups.
ParkRaceResult RunParkRace(uint64_t parks, uint64_t seed, RaceFences fences = RaceFences::kBoth,
                           uint64_t most_lost = UINT64_MAX);

}  // namespace millrace
