// What `millrace load` says: the table, the JSON, the verdict.
//
// Purpose: one run, of one point or a sweep, for people and for programs. Who may call: any thread;
//   nothing is kept. Invariants: 1. what makes a figure doubtful (late sends, held-back or unsent
//   requests, failures) stands beside the figures, and never only in the JSON. 2. Both latencies
//   are told, and which is which. Nothing fails.
#pragma once

#include <stdint.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tools/load/driver.h"

namespace millrace {

struct LoadPoint {
  double rate_per_s = 0;  // 0: closed loop
  int in_flight = 1;      // closed loop: always; open loop: at most
  DriveResult result;

  std::string Name() const;  // "1000/s", "32 in flight"
};

struct LoadRun {
  std::string model, protocol, address;  // protocol: "gRPC" or "HTTP"
  std::string arrivals;                  // "poisson" or "constant"
  uint64_t seed = 1;
  int connections = 1;
  int64_t deadline_ms = 0;
  int64_t rows_per_request = 1;
  bool generated = false;  // requests were made up
  bool compared = false;   // answers were compared with expected ones
  std::vector<LoadPoint> points;
};

std::string RenderLoad(const LoadRun& run);
nlohmann::json LoadJson(const LoadRun& run);

// Whether each point sent something, and no more than `max_error_rate` of what was due failed, was
// answered with other bytes or was never sent.
bool LoadIsGood(const LoadRun& run, double max_error_rate);

}  // namespace millrace
