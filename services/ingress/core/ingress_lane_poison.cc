// Models and requests that kill: breakers, suspects, what is told of poison.
#include <time.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "services/ingress/core/ingress_lane.h"

namespace millrace {

void IngressLane::SetStageBreaker(Stage stage, BreakerState state) {
  lane_->Post([this, stage, state] { gate_.Set(stage, state); });
}

absl::Status IngressLane::PassBreakers(const CheckedRequest& request, int64_t now, Probes* probes) {
  StageNeeds needs;
  FindNeeds(request, &needs);
  const ModelBreakers::Verdict stage = gate_.Admit(needs);
  if (!stage.admitted) {
    Shed(Counter::kShedBreaker);
    return absl::UnavailableError(
        absl::StrCat("a stage that the model needs dies again and again; try again in ",
                     config_.storm_rest_ms, " ms"));
  }
  const ModelBreakers::Verdict verdict = breakers_.Admit(*request.model, now);
  if (verdict.admitted) {
    *probes = {verdict.probe, stage.probe};
    return absl::OkStatus();
  }
  Shed(Counter::kShedBreaker);
  if (stage.probe) gate_.ProbeEnded();
  return absl::UnavailableError(
      absl::StrCat("the model ended worker after worker and is shut out for now; try again in ",
                   verdict.retry_after_ns / kNanosPerMilli + 1, " ms"));
}

// Before the flights are replayed: afterwards the page's ids are of attempts that are past.
bool IngressLane::CountModelDeaths(const PeerLane& dead) {
  absl::InlinedVector<const ServedModel*, kMaxMembers> culprits;
  const Page& page = dead.page();
  // acquire: meets the release in Worker::NameCount.
  const uint32_t count = page.executing_count.load(std::memory_order_acquire);
  for (size_t i = 0; i < std::min<size_t>(count, kMaxExecuting); ++i) {
    // relaxed: ordered by the count.
    if (page.executing_origin[i].load(std::memory_order_relaxed) != lane_->id().incarnation) {
      continue;
    }
    // relaxed: as above.
    PartId id = PartId::Unpack(page.executing_id[i].load(std::memory_order_relaxed));
    const uint8_t member = std::exchange(id.member, uint8_t{0});
    if (id.slot >= flights_.size() || flights_[id.slot].state != FlightState::kSent ||
        !(id == IdOf(id.slot))) {
      continue;
    }
    const ServedModel* model = flights_[id.slot].request.model;
    // Execution runs the member's plan; the other stages work for the whole.
    if (dead.id.stage == Stage::kExecution && member < model->members.size()) {
      model = model->members[member];
    }
    if (std::find(culprits.begin(), culprits.end(), model) == culprits.end()) {
      culprits.push_back(model);
    }
  }
  bool opened = false;
  const int64_t now = MonotonicNanos();
  for (const ServedModel* model : culprits) opened |= breakers_.Died(*model, now);
  return opened;
}

void IngressLane::FailWaitingOfOpenModels() {
  const int64_t now = MonotonicNanos();
  for (size_t slot = 0; slot < flights_.size(); ++slot) {
    const Flight& flight = flights_[slot];
    if (flight.state != FlightState::kWaiting) continue;
    if (!breakers_.IsOpen(*flight.request.model, now)) continue;
    if (!flight.golden) Shed(Counter::kShedBreaker);
    const absl::Status status =
        absl::UnavailableError("the model ended worker after worker and is shut out for now");
    if (!FallBack(static_cast<uint16_t>(slot), status)) Fail(static_cast<uint16_t>(slot), status);
  }
}

// True: it is poison.
bool IngressLane::Suspect(Flight& flight, const PeerLane& dead) {
  // acquire: meets the release of SayDying in services/runtime/liveness.cc.
  const auto state = static_cast<LaneState>(dead.page().state.load(std::memory_order_acquire));
  WorkerDeath death = {dead.id.stage, dead.id.incarnation, 0};
  // relaxed: ordered by the state.
  const uint32_t reason = dead.page().exit_reason.load(std::memory_order_relaxed);
  if (state == LaneState::kDying) death.reason = std::max(reason, 1u);
  return flight.suspicion.Died(death, flight.alone);
}

void IngressLane::TellPoisoned(const Flight& flight) const {
  if (!shared_.poisoned) return;
  PoisonRecord record;
  timespec wall;
  clock_gettime(CLOCK_REALTIME, &wall);
  record.wall_ms = wall.tv_sec * 1000 + wall.tv_nsec / kNanosPerMilli;
  const Model& model = *flight.request.model->model;
  record.model = model.name();
  record.version = model.version();
  record.route = model.route();
  record.client_id_hash = flight.client_id_hash;
  record.rows = flight.request.rows;
  const absl::StatusOr<PackView> pack =
      PackView::Open({lane_->arena().At(flight.input.offset), flight.input.length});
  for (size_t i = 0; pack.ok() && i < pack->count(); ++i) {
    const PackTensor tensor = pack->tensor(i);
    record.tensors.push_back({tensor.datatype, tensor.columns, tensor.data.size()});
  }
  record.deaths.assign(flight.suspicion.deaths().begin(), flight.suspicion.deaths().end());
  shared_.poisoned(record);
}

}  // namespace millrace
