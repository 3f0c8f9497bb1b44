// Faults on purpose: the rules of the configuration's section `faults`.
//
// Purpose: what shall go wrong, where, for which share of the requests, to test policies with.
// Who may call: any thread; nothing is kept between calls.
// Invariants:
//   1. A rule from these functions lies within its bounds; an unknown key of a rule is a fault.
//   2. A plan does nothing unless the server was started with --enable-faults: FaultPlanFault is
//      asked before anything starts.
// What fails: ReadFaultRules appends to `faults`, with the line where it knows it.
#pragma once

#include <stdint.h>

#include <string>
#include <string_view>
#include <vector>

#include "common/config.h"

namespace millrace {

enum class FaultKind : uint8_t {
  kDelay,        // the lane stands still, or computes (busy), for `delay_ns`
  kLoss,         // nothing is sent on: the client's deadline answers
  kError,        // UNAVAILABLE instead of a result
  kCrash,        // the process gets `signal` while the request stands in its page
  kHang,         // the lane waits for ever
  kNoMemory,     // no block can be had for the result
  kWrongOutput,  // bits of the result are turned over
  kDeviceLost,   // execution: the process ends as one whose device failed for good
};

inline constexpr size_t kMaxFaultRules = 32;

struct FaultRule {
  std::string stage;    // "ingress", "features", "execution" or "aggregation"
  std::string model;    // of which the request is; empty: of any
  std::string version;  // of that model; empty: of all
  FaultKind kind = FaultKind::kDelay;
  double fraction = 1;     // of the requests that match; of 0 to 1
  std::string header;      // only for requests that ask for this name; empty: for any
  int64_t delay_ns = 0;    // kDelay
  bool per_row = false;    // kDelay: for each row of the request, else once
  bool busy = false;       // kDelay: burns CPU time instead of sleeping
  bool once = false;       // only at a request's first attempt, so that its replay goes well
  int signal = 0;          // kCrash
  int64_t max_active = 0;  // kDelay and kLoss of ingress: requests held at a time; 0: any number
};

// The rules in that text (a YAML list of maps); empty for an empty text.
std::vector<FaultRule> ReadFaultRules(std::string_view yaml, std::vector<ConfigFault>* faults);

// Of a checked configuration.
std::vector<FaultRule> FaultRulesOf(const Config& config);

// What is wrong with a plan that nobody enabled, or empty.
std::string_view FaultPlanFault(const Config& config, bool enabled);

}  // namespace millrace
