// Who is let in, and who is shed: by predicted finish, by the limit, by what the queue delays.
#include <string.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "services/ingress/core/ingress_lane.h"

namespace millrace {
namespace {

constexpr int kShedInASweep = 8;
constexpr int64_t kRestShare = 50;  // of half of the time that requests have
constexpr int64_t kMostRestNs = 4 * kNanosPerMilli;

uint32_t RankOf(const InferRequest& request) {
  return PriorityRank(static_cast<uint8_t>(std::min<uint32_t>(request.priority, 255)));
}

}  // namespace

absl::Status IngressLane::Admit(const InferRequest& request, int64_t now, CheckedRequest* checked,
                                int64_t* deadline_ns) {
  if (table() == nullptr) return absl::UnavailableError("no model is served yet");
  if (absl::Status s = table()->Check(request, checked); !s.ok()) return s;
  const int64_t longest = now + config_.max_deadline_ms * kNanosPerMilli;
  *deadline_ns = request.deadline_ns == 0 ? now + config_.default_deadline_ms * kNanosPerMilli
                                          : std::min(request.deadline_ns, longest);
  uint64_t queued_ns = windows_.QueueDelayNs(Stage::kExecution);
  if (checked->raw_columns) queued_ns += windows_.QueueDelayNs(Stage::kFeatures);
  if (checked->needs_aggregation) queued_ns += windows_.QueueDelayNs(Stage::kAggregation);
  if (*deadline_ns <= now + static_cast<int64_t>(queued_ns)) {
    Shed(Counter::kShedPredicted);
    return absl::DeadlineExceededError("the deadline is nearer than the queues are long");
  }
  // What waits here stands before the workers' own queues.
  const size_t ahead = sending_golden_ || waiting_.empty() ? 0 : waiting_.Ahead(RankOf(request));
  if (ahead > 0 && *deadline_ns <= now + static_cast<int64_t>(queued_ns) + drain_.DelayNs(ahead)) {
    drain_.Refused();
    Shed(Counter::kShedPredicted);
    return absl::DeadlineExceededError("the deadline is nearer than the requests before it take");
  }
  RunEstimate& run = counters_[checked->model->place]->run();
  if (*deadline_ns <= now + static_cast<int64_t>(queued_ns) + run.ns()) {
    run.Refused();
    Shed(Counter::kShedPredicted);
    return absl::DeadlineExceededError("the deadline is nearer than the model is fast");
  }
  return MakeRoom(RankOf(request));
}

absl::Status IngressLane::StoreInput(const InferRequest& request, const CheckedRequest& checked,
                                     BlockRef* stored) {
  PackWriter pack(checked.rows);
  size_t bytes = 0;
  for (size_t i = 0; i < request.inputs.size(); ++i) {
    const TensorView& input = request.inputs[i];
    uint32_t columns = 1;
    for (size_t d = 1; d < input.shape.size(); ++d)
      columns *= static_cast<uint32_t>(input.shape[d]);
    bytes += input.raw.size();
    if (bytes > static_cast<size_t>(config_.max_request_bytes) ||
        !pack.Add(checked.pack_names[i], input.datatype, columns, input.raw.size())) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "inputs: over the limit of ", config_.max_request_bytes, " bytes for a request"));
    }
  }
  const MaybeBlock block = lane_->arena().Allocate(pack.bytes());
  if (!block.has_value()) {
    Shed(Counter::kShedFull);
    return absl::UnavailableError("no memory for a request of this size now");
  }
  pack.Place(lane_->arena().At(block->offset));
  for (size_t i = 0; i < request.inputs.size(); ++i) {
    memcpy(pack.Data(i), request.inputs[i].raw.data(), request.inputs[i].raw.size());
  }
  *stored = *block;
  return absl::OkStatus();
}

absl::Status IngressLane::Accept(const InferRequest& request, int64_t now, Entry* entry) {
  CheckedRequest& checked = entry->checked;
  if (absl::Status s = Admit(request, now, &checked, &entry->deadline_ns); !s.ok()) return s;
  StageNeeds needs;
  FindNeeds(checked, &needs);
  for (const StageNeed& need : needs) {
    if (windows_.BlockBytes(need.block_bytes) != 0) continue;
    return absl::ResourceExhaustedError("outputs: the answer would be over the size limit");
  }
  return StoreInput(request, checked, &entry->input);
}

void IngressLane::Enter(const InferRequest& request, int64_t now, Entry* entry) {
  absl::Status& status = entry->status;
  status = Accept(request, now, entry);
  if (!status.ok()) return;
  if (HasFallbacks(request.route)) status = probe_.ModelReady(entry->checked.model->place);
  if (status.ok() && (breakers_.troubled() || gate_.troubled())) {
    status = PassBreakers(entry->checked, now, &entry->probes);
  }
  if (!status.ok()) lane_->Release(entry->input);
}

ModelStatsWords* IngressLane::CountRefusal(const InferRequest& request, int64_t now,
                                           const absl::Status& status) {
  ModelStatsWords* stats = &lane_->stats().Unknown();
  if (sending_golden_) return stats;
  const ServedModel* const served =
      table() == nullptr ? nullptr : table()->Lookup(request.model, request.version);
  if (served != nullptr) {
    counters_[served->place]->CountFailure(MonotonicNanos() - now);
    stats = &lane_->stats().Of(static_cast<uint16_t>(served->model->route()));
  }
  stats->Code(static_cast<size_t>(status.code()));
  return stats;
}

// One that waits gives way to a request of a higher priority: the lowest, with the latest deadline.
absl::Status IngressLane::MakeRoom(uint32_t rank) {
  const bool over = !sending_golden_ && in_flight_ - golden_in_flight_ >= limit_.limit();
  if (!over && !free_slots_.empty()) return absl::OkStatus();
  const std::optional<uint16_t> last = waiting_.Last([&](uint16_t slot) {
    return !flights_[slot].golden && flights_[slot].attempt == 0 && waiting_.rank(slot) > rank;
  });
  if (last.has_value()) {
    Shed(Counter::kShedPriority);
    Fail(*last, absl::UnavailableError("gave way to a request of a higher priority"));
  }
  if (free_slots_.empty() || (over && !last.has_value())) {
    Shed(free_slots_.empty() ? Counter::kShedFull : Counter::kShedLimit);
    shed_now_ = true;
    return absl::UnavailableError("too many requests are in flight");
  }
  return absl::OkStatus();
}

void IngressLane::LeftQueue(const Flight& flight) {
  const int64_t now = MonotonicNanos();
  queue_delay_.Left(
      QueueDelay::Share(now - flight.accepted_ns, flight.deadline_ns - flight.accepted_ns), now);
}

void IngressLane::StepOverload(int64_t now) {
  drain_.Tick(now, !waiting_.empty());
  if (waiting_.empty()) return queue_delay_.Left(0, now);
  if (!queue_delay_.overloaded() || now < next_shed_ns_) return;
  next_shed_ns_ = now + kSweepNs;
  for (int i = 0; i < kShedInASweep; ++i) {
    const std::optional<uint16_t> last = waiting_.Last([&](uint16_t slot) {
      const Flight& flight = flights_[slot];
      const int64_t given = flight.deadline_ns - flight.accepted_ns;
      return !flight.golden && flight.attempt == 0 &&
             queue_delay_.Drop(QueueDelay::Share(now - flight.accepted_ns, given));
    });
    if (!last.has_value()) return;
    Shed(Counter::kShedDelay);
    Fail(*last, absl::UnavailableError("shed: requests wait too long for a worker"));
  }
}

// Of a golden request nothing is learned: it is no client's.
void IngressLane::CountForLimit(const Flight& flight, int64_t now) {
  if (flight.golden) return;
  limit_.Ended(now - flight.accepted_ns, flight.deadline_ns - flight.accepted_ns,
               in_flight_ - golden_in_flight_);
}

void IngressLane::Shed(Counter reason) {
  if (!sending_golden_) lane_->page().Add(reason);
}

// While it refuses, new requests are looked at a little later and several at a time: that costs
// less, and leaves the cores to those that work. A hundredth of what requests have is no delay.
int64_t IngressLane::TakeRestNs() {
  if (!std::exchange(shed_now_, false)) return 0;
  return std::min(limit_.bearable_ns() / kRestShare, kMostRestNs);
}

int64_t IngressLane::RetryAfterMs(const absl::Status& status) const {
  return absl::IsUnavailable(status) ? drain_.HintMs(in_flight_) : 0;
}

}  // namespace millrace
