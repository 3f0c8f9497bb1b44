#include "services/ingress/core/request_tracer.h"

#include <string.h>

#include <algorithm>

namespace millrace {
namespace {

constexpr int64_t kPartsPerMillion = 1'000'000;

}  // namespace

bool RequestTracer::Budget::Take(int64_t now_ns) {
  constexpr int64_t kEachNs = kNanosPerSecond / kTailsASecond;
  if (full_at_ns_ > now_ns + kNanosPerSecond - kEachNs) return false;
  full_at_ns_ = std::max(full_at_ns_, now_ns) + kEachNs;
  return true;
}

RequestTracer::RequestTracer(const Config& config, size_t slots)
    : on_(IsTraced(config)),
      sample_below_((static_cast<uint64_t>(config.trace_sample_ppm) << 32) / kPartsPerMillion),
      slow_ns_((config.trace_slow_ms > 0 ? config.trace_slow_ms : config.slo_ms) * kNanosPerMilli),
      ids_(TraceIds::Random()),
      states_(on_ ? slots : 0) {}

void RequestTracer::Begin(const TraceEntry& entry, int64_t accepted_ns, size_t slot,
                          FlightTrace* flight) {
  *flight = FlightTrace();
  if (!on_) return;
  flight->entered_ns = entry.entered_ns > 0 ? entry.entered_ns : accepted_ns;
  flight->method = entry.method;
  if (entry.parent.valid()) {
    flight->own = {entry.parent.trace, ids_.Span(), entry.parent.sampled};
    flight->parent = entry.parent.span;
    flight->told = true;
    if (slot < states_.size() && entry.state.size() <= kMaxTraceState) {
      flight->state_bytes = static_cast<uint16_t>(entry.state.size());
      memcpy(states_[slot].data(), entry.state.data(), entry.state.size());
    }
  } else if ((ids_.Next() >> 32) < sample_below_) {
    flight->own = {ids_.Trace(), ids_.Span(), true};
    flight->told = true;
  }
}

uint8_t RequestTracer::Keeps(const FlightTrace& flight, bool failed, int64_t now_ns,
                             TraceWriter* ring) {
  if (ring == nullptr || flight.entered_ns == 0) return 0;
  uint8_t why = flight.own.sampled ? kWhySampled : 0;
  if (failed) why |= kWhyFailed;
  if (now_ns - flight.entered_ns >= slow_ns_) why |= kWhySlow;
  if (why == 0 || (why & kWhySampled) != 0) return why;
  Budget& budget = failed ? failed_ : slow_;
  if (budget.Take(now_ns)) return why;
  ring->Skip();
  return 0;
}

RequestRecord RequestTracer::RecordOf(const FlightTrace& flight, uint8_t why, size_t slot) {
  RequestRecord record;
  const bool begins_here = !flight.own.valid();
  record.trace = begins_here ? ids_.Trace() : flight.own.trace;
  record.span = begins_here ? ids_.Span() : flight.own.span;
  record.parent = flight.parent;
  record.entered_ns = flight.entered_ns;
  record.method = flight.method;
  record.why = why;
  if (slot < states_.size()) {
    record.state_bytes = flight.state_bytes;
    memcpy(record.state, states_[slot].data(), flight.state_bytes);
  }
  return record;
}

}  // namespace millrace
