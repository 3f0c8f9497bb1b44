// A load of golden requests: so many in flight all the time, over gRPC or over HTTP.
//
// Purpose: benches, the demo and the tests of the whole process tree; every latency is kept. What
//   users run is `millrace load`. Who may call: one thread; it returns when the load is done.
//   Invariants: 1. every request sent is counted once, as answered, as mismatched (answered, but
//   with other bytes than expected) or as failed, by its code;
//   2. latencies are those of answered requests, from the call's start to its end, in nanoseconds.
// What fails: nothing; what does is counted.
#pragma once

#include <stdint.h>

#include <atomic>
#include <map>
#include <string>
#include <vector>

#include "tools/load/golden.h"

namespace millrace {

struct LoadOptions {
  std::string address;  // host:port or unix:/path
  int in_flight = 1;
  int channels = 1;            // connections; over HTTP there is one for each in flight
  int64_t requests = 0;        // stop after so many; 0: by time
  int64_t duration_ms = 1000;  // stop after so long; 0: by count
  int64_t deadline_ms = 10'000;
  int64_t told_ms = 0;  // deadline that the server is told, where it is not deadline_ms
  std::string history;  // file of what became of each request (history_file.h); empty: none
  int retries = 0;      // of a request that failed UNAVAILABLE
  const std::atomic<bool>* stop = nullptr;  // once true, nothing new is sent
};

struct LoadReport {
  int64_t sent = 0;
  int64_t answered = 0;
  int64_t mismatched = 0;
  int64_t failed = 0;
  int64_t retried = 0;
  std::map<std::string, int64_t> failures;  // by code and an example of its sentence
  std::vector<int64_t> latencies_ns;        // sorted
  double seconds = 0;

  // Of the sorted latencies; 0 without any. `q` from 0 to 1.
  int64_t PercentileNs(double q) const;
  double RequestsPerSecond() const;
  std::string ToJson() const;  // one line
  std::string ToText() const;  // a few lines to read
};

LoadReport RunGrpcLoad(const GoldenSet& golden, const LoadOptions& options);
LoadReport RunGrpcStreamLoad(const GoldenSet& golden, const LoadOptions& options);
LoadReport RunHttpLoad(const GoldenSet& golden, const LoadOptions& options);
LoadReport RunLocalLoad(const GoldenSet& golden, const LoadOptions& options);

}  // namespace millrace
