// A limit of log lines by event: who logs without end costs a disk nothing and hides no other
// event.
//
// Purpose: for each name of an event a bucket of kBurst lines, filled again by kPerSecond.
// Who may call: any thread. Ownership: holds its table; names are not kept.
// Invariants:
//   1. Nobody waits: a thread that finds another one inside is let through, and so are events for
//      which there is no place (kEvents). A thread that dies inside leaves a limit that lets all
//      through.
//   2. A line that is let through says how many of its event were not, since the one before it.
// Nothing fails.
#pragma once

#include <stdint.h>

#include <array>
#include <atomic>
#include <string_view>

#include "common/clock.h"

namespace millrace {

class LogLimit {
 public:
  static constexpr int64_t kPerSecond = 20;
  static constexpr int64_t kBurst = 100;
  static constexpr size_t kEvents = 256;

  // Whether the line may go out; `suppressed`, if it may: those of its event that were not.
  bool Admit(std::string_view event, int64_t now_ns, uint64_t* suppressed);

 private:
  struct Bucket {
    uint64_t name = 0;  // its hash; 0: nobody's
    // When the bucket would be full again, if nothing came: each line moves it on.
    int64_t full_ns = 0;
    uint64_t suppressed = 0;
  };
  static constexpr int64_t kEachNs = kNanosPerSecond / kPerSecond;

  Bucket* Find(uint64_t name);

  std::atomic<bool> busy_{false};
  std::array<Bucket, kEvents> buckets_;
};

}  // namespace millrace
