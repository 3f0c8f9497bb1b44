// Drives a load through a transport and counts what comes of it.
//
// Purpose: closed loop (so many in flight) and open loop (a rate) for every protocol. Who may call:
//   one thread; it returns when the load is done and all that was sent has ended.
// Invariants: 1. every measured request is counted once: answered, mismatched or failed by its
//   code. 2. Corrected latency begins when the request was due, service time when it was sent; so a
//   server that stalls cannot make the load wait for it unseen (coordinated omission). In a closed
//   loop a request is due when its slot is free, and both are the same. 3. A request sent late is
//   told as held back (all slots were in use: the limit of requests in flight) or as late (this
//   program was too slow), never silently. 4. Requests due within the warm-up are sent, not
//   measured; a backlog that it leaves is dropped. 5. The latencies are of answered requests, the
//   mismatched ones too.
// What fails: nothing; what does is counted.
#pragma once

#include <stdint.h>

#include <atomic>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/clock.h"
#include "tools/load/arrivals.h"
#include "tools/load/histogram.h"
#include "tools/load/transport.h"

namespace millrace {

// More than this after its time, a request was sent late.
inline constexpr int64_t kLateNs = kNanosPerMilli;

struct DriveOptions {
  int in_flight = 1;      // closed loop: always so many; open loop: at most so many
  double rate_per_s = 0;  // 0: closed loop
  ArrivalKind arrivals = ArrivalKind::kPoisson;
  uint64_t seed = 1;
  int64_t warm_up_ns = 0;
  int64_t duration_ns = 0;                  // after the warm-up; 0: by count
  int64_t requests = 0;                     // measured ones; 0: by time. Both 0: until `stop`
  int retries = 0;                          // of a request that failed and may be retried
  const std::atomic<bool>* stop = nullptr;  // once true, nothing new is sent
};

struct ErrorCount {
  int64_t count = 0;
  std::string example;  // the first one's sentence
};

struct DriveResult {
  int64_t sent = 0;
  int64_t answered = 0;
  int64_t mismatched = 0;
  int64_t failed = 0;
  int64_t retried = 0;
  std::map<std::string, ErrorCount> errors;  // by code
  Histogram latency;                         // corrected: from when it was due
  Histogram service;                         // from when it was sent
  int64_t late = 0;                          // sent more than kLateNs after it was due
  int64_t worst_late_ns = 0;
  int64_t held_back = 0;  // had to wait for a free slot
  int64_t unsent = 0;     // due before the end, but never sent
  int64_t warm_up_sent = 0;
  int64_t warm_up_failed = 0;  // or mismatched
  double seconds = 0;          // from the end of the warm-up to the last answer, or the end
  bool stopped = false;        // by `stop`

  double AnswersPerSecond() const;
  // Of all that was due, the share that failed, had other bytes or was never sent; 1 if none was
  // sent.
  double ErrorRate() const;
};

struct DriveProgress {
  bool warming_up = false;
  double done_share = -1;  // 0 to 1; -1 where the end is not known
  int64_t elapsed_ns = 0;  // since the load began
  const DriveResult* result = nullptr;
};

// One request, as its client sees it: `code` is OK, MISMATCHED or that of a failure.
struct DriveEvent {
  enum class Kind { kSent, kAgain, kEnded };  // kAgain: a try failed, and is sent once more
  Kind kind = Kind::kSent;
  int64_t number = 0;
  int64_t at_ns = 0;
  std::string_view code;
};

// Called about five times a second, and where `exact_ns` is not null for each answer with its
// service time. `event`: each request's, in order.
struct DriveWatch {
  std::function<void(const DriveProgress&)> progress;
  std::vector<int64_t>* exact_ns = nullptr;
  std::function<void(const DriveEvent&)> event = nullptr;
};

DriveResult Drive(Transport* transport, LoadClock* clock, size_t request_count,
                  const DriveOptions& options, const DriveWatch& watch);

}  // namespace millrace
