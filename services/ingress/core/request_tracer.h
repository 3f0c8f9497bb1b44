// Which requests of a lane are traced, and what is written down of those that are kept.
//
// Purpose: head sampling when a request comes, tail sampling of slow and failed ones when it ends;
//   one record in the lane's trace ring for each that is kept. What the workers did is in their own
//   rings, for every request: so who is kept at the end is shown whole.
// Who may call: the lane's thread. Ownership: owns the clients' tracestates, by slot of the ledger;
//   the ring is the process's. Invariants:
//   1. A request that is not kept costs one random number and a few comparisons; nothing allocates
//      after the constructor.
//   2. A client's valid trace is gone on with, and its sampled flag is obeyed both ways; slow and
//      failed requests are kept all the same.
//   3. Slow and failed requests are kept up to kTailsASecond of each; those beyond are counted as
//      skipped.
// Nothing fails: the ring is lossy.
#pragma once

#include <stdint.h>

#include <array>
#include <memory>
#include <vector>

#include "common/clock.h"
#include "common/config.h"
#include "common/trace_context.h"
#include "ipc/trace_records.h"
#include "ipc/trace_ring.h"
#include "services/ingress/frontend.h"

namespace millrace {

// What a flight carries. All 0 where nothing is traced.
struct FlightTrace {
  TraceContext own;     // our root span
  uint64_t parent = 0;  // the client's span
  int64_t entered_ns = 0;
  TraceMethod method = TraceMethod::kUnknown;
  bool told = false;  // the answer names it
  uint16_t state_bytes = 0;
};

class RequestTracer {
 public:
  static constexpr int64_t kTailsASecond = 100;

  // `slots`: of the ledger.
  RequestTracer(const Config& config, size_t slots);

  bool on() const { return on_; }
  // Of a request that comes, into `flight`; `slot`: where its tracestate is kept.
  void Begin(const TraceEntry& entry, int64_t accepted_ns, size_t slot, FlightTrace* flight);
  // Of one that is refused before it has a slot.
  void BeginRefused(const TraceEntry& entry, int64_t accepted_ns, FlightTrace* flight) {
    Begin(entry, accepted_ns, states_.size(), flight);
  }
  // What the answer says of it.
  static TraceContext Told(const FlightTrace& flight) {
    return flight.told ? flight.own : TraceContext();
  }

  // Whether a request that ends now is kept, and why; 0: it is not.
  uint8_t Keeps(const FlightTrace& flight, bool failed, int64_t now_ns, TraceWriter* ring);
  // Its record, with all that the flight has; the rest is the lane's to fill in.
  RequestRecord RecordOf(const FlightTrace& flight, uint8_t why, size_t slot);
  RequestRecord RecordOfRefused(const FlightTrace& flight, uint8_t why) {
    return RecordOf(flight, why, states_.size());
  }

 private:
  // Fills up evenly, to a second's worth at the most.
  class Budget {
   public:
    bool Take(int64_t now_ns);

   private:
    int64_t full_at_ns_ = 0;
  };

  const bool on_;
  const uint64_t sample_below_;  // of 2^32
  const int64_t slow_ns_;
  TraceIds ids_;
  Budget slow_, failed_;
  std::vector<std::array<char, kMaxTraceState>> states_;
};

}  // namespace millrace
