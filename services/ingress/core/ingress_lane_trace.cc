// Traces: what is written down of the requests that are kept (request_tracer.h).
#include <algorithm>

#include "common/clock.h"
#include "services/ingress/core/ingress_lane.h"

namespace millrace {

uint8_t IngressLane::SlotOf(const ModelStatsWords* stats) const {
  return static_cast<uint8_t>(stats - lane_->page().stats.models);
}

IngressLane::KeptTrace IngressLane::KeepTrace(uint16_t slot, absl::StatusCode code, int64_t now,
                                              const Message* result) {
  const Flight& flight = flights_[slot];
  const bool failed = code != absl::StatusCode::kOk;
  const uint8_t why = tracer_.Keeps(flight.trace, failed, now, lane_->traces());
  if (why == 0) return std::nullopt;
  KeptTrace kept = tracer_.RecordOf(flight.trace, why, slot);
  kept->accepted_ns = flight.accepted_ns;
  kept->stored_ns = flight.stored_ns;
  kept->submitted_ns = flight.submitted_ns;
  kept->answered_ns = now;
  kept->id = IdOf(slot).Pack();
  kept->times = result != nullptr ? result->times : 0;
  kept->rows = static_cast<uint32_t>(flight.request.rows);
  if (flight.submitted_ns != 0) {
    kept->features = flight.features;
    kept->aggregation = flight.aggregation;
    std::copy(std::begin(flight.execution), std::end(flight.execution), kept->execution);
    kept->members = static_cast<uint8_t>(flight.request.model->members.size());
  }
  kept->code = static_cast<uint8_t>(code);
  kept->model = SlotOf(flight.stats);
  return kept;
}

IngressLane::KeptTrace IngressLane::KeepRefused(const FlightTrace& trace, absl::StatusCode code,
                                                int64_t now, const ModelStatsWords* stats) {
  const uint8_t why = tracer_.Keeps(trace, true, now, lane_->traces());
  if (why == 0) return std::nullopt;
  KeptTrace kept = tracer_.RecordOfRefused(trace, why);
  kept->accepted_ns = now;
  kept->answered_ns = MonotonicNanos();
  kept->code = static_cast<uint8_t>(code);
  kept->model = SlotOf(stats);
  return kept;
}

void IngressLane::WriteTrace(KeptTrace* kept) {
  if (!kept->has_value()) return;
  (*kept)->written_ns = MonotonicNanos();
  lane_->traces()->Write(**kept);
}

}  // namespace millrace
