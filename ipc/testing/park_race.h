// A race for the moment of parking: producers that publish one message at a time, with gaps as long
// as the consumer needs to park.
//
// Purpose: a lost wake-up must show. Producers that never pause hide it, since the next publish
// wakes;
//   so each waits for its message to be taken, and the consumer, at a time-out, asks whether a
//   producer had finished its Wake although nothing woke. Who may call: waiter's test and stress.
#pragma once

#include <stdint.h>

namespace millrace {

struct ParkRaceResult {
  uint64_t parks = 0;      // times the consumer armed
  uint64_t cancelled = 0;  // of these, work was found at the second look
  uint64_t slept = 0;      // of these, it slept
  uint64_t lost = 0;       // slept on although a finished Wake had announced a message
  uint64_t taken = 0;
};

// Two producer threads; runs until the consumer has parked `parks` times.
ParkRaceResult RunParkRace(uint64_t parks, uint64_t seed);

}  // namespace millrace
