// The newest traces that were kept, for who asks: GET /api/traces.
//
// Purpose: what an operator looks at. Who may call: any thread. Ownership: shares the traces.
// Invariants: 1. at most kTraces; those that were only sampled never push out slow and failed ones,
//   however many they are. 2. the JSON is what TraceJson says, whatever names hold.
// Nothing fails.
#pragma once

#include <stdint.h>

#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "services/observer/traces/kept_trace.h"

namespace millrace {

// What was counted on the way of traces to whoever reads them.
struct TraceTally {
  uint64_t kept = 0;        // assembled
  uint64_t lost = 0;        // overwritten before they were read, or over the lanes' budgets
  uint64_t incomplete = 0;  // kept, and a worker's part was not there any more
  uint64_t exported = 0;    // by OTLP
  uint64_t export_failed = 0;
  uint64_t export_lost = 0;  // the exporter was behind
};

class TraceStore {
 public:
  static constexpr size_t kTraces = 200;
  // Of these, such as were neither slow nor failed.
  static constexpr size_t kSampledTraces = 100;

  void Add(const std::vector<SharedTrace>& traces);
  // Newest first. `why`: a TraceWhy, or 0 for all.
  std::vector<SharedTrace> Newest(uint8_t why, size_t limit) const;

 private:
  mutable std::mutex mutex_;
  std::deque<SharedTrace> traces_;
};

// "?why=slow&limit=10": what it asks for; nothing where it is not understood.
struct TraceQuery {
  uint8_t why = 0;
  size_t limit = TraceStore::kTraces;
};
bool ParseTraceQuery(std::string_view query, TraceQuery* to);

std::string TracesJson(const std::vector<SharedTrace>& traces, const TraceTally& tally);

}  // namespace millrace
