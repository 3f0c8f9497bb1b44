#include "services/ingress/core/ingress_lane.h"

#include <string.h>
#include <time.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/client_id.h"
#include "common/clock.h"

namespace millrace {
namespace {

constexpr int64_t kIdleSleepNs = Waiter::kMaxSleepMs * kNanosPerMilli;
// The limit falls no further: a slow model needs no more to keep its worker busy.
constexpr size_t kLeastInFlight = 16;
// What golden answers may differ where a device may sum in any order.
constexpr double kFastSumsTolerance = 1e-4;

}  // namespace

IngressLane::IngressLane(Lane* lane, Ledger* ledger, const Config& config, IngressShared shared)
    : lane_(lane),
      ledger_(ledger),
      config_(config),
      windows_(lane, config),
      breakers_({static_cast<size_t>(config.storm_intensity),
                 config.storm_period_ms * kNanosPerMilli, config.storm_rest_ms * kNanosPerMilli},
                [this](const BreakerChange& change) {
                  if (shared_.breaker_changed) shared_.breaker_changed(*lane_, change);
                }),
      shared_(std::move(shared)),
      faults_(IngressFaults::Make(config)),
      statistics_(shared_.statistics != nullptr ? shared_.statistics : &own_statistics_),
      flights_(config.max_in_flight),
      waiting_(config.max_in_flight),
      limit_(kLeastInFlight, config.max_in_flight),
      tracer_(config, config.max_in_flight),
      probe_(ProbeHost(), config.probe_period_ms * kNanosPerMilli,
             config.fast_sums == "true" ? kFastSumsTolerance : 0, &lane->page().golden) {
  for (size_t slot = flights_.size(); slot-- > 0;) {
    free_slots_.push_back(static_cast<uint16_t>(slot));
  }
  lane->set_handler(this);
}

GoldenProbe::Host IngressLane::ProbeHost() {
  return {[this](const InferRequest& request, Completion* completion) {
            sending_golden_ = true;
            const RequestId id = Infer(request, completion);
            sending_golden_ = false;
            return id;
          },
          [this](RequestId id) { Cancel(id); },
          [this](size_t place) { return counters_[place]->run().ns(); }, &MonotonicNanos};
}

void IngressLane::SetCatalog(std::shared_ptr<const Catalog> catalog) {
  std::shared_ptr<const ModelTable> table = ModelTable::Make(std::move(catalog));
  lane_->Post([this, table] { coming_.push_back(table); });
}

void IngressLane::GoLive(uint64_t generation) {
  lane_->Post([this, generation] {
    for (const auto& table : coming_) {
      if (table->catalog()->generation() != generation) continue;
      tables_.push_back({table});
      counters_.clear();
      for (const Model& model : table->catalog()->models()) {
        counters_.push_back(statistics_->Open(this, model.name(), model.version()));
        lane_->stats().Name(model.route(), model.name(), model.version());
      }
      MR_CHECK(counters_.size() == table->size(), "a table has each model of its catalog");
      probe_.SetTable(table);
    }
    std::erase_if(coming_, [&](const auto& t) { return t->catalog()->generation() <= generation; });
    // relaxed: a statistic, read alone.
    lane_->page().catalog_generation.store(generation, std::memory_order_relaxed);
  });
}

std::shared_ptr<const Catalog> IngressLane::catalog() const {
  return table() == nullptr ? nullptr : table()->catalog();
}

bool IngressLane::ServerReady() const {
  return PipelineUp() && !gate_.any_open() && probe_.AllReady();
}

bool IngressLane::PipelineUp() const {
  return table() != nullptr && windows_.HasReady(Stage::kFeatures) &&
         windows_.HasReady(Stage::kExecution) && windows_.HasReady(Stage::kAggregation);
}

absl::Status IngressLane::ModelReady(std::string_view model, std::string_view version) const {
  if (table() == nullptr) return absl::UnavailableError("no catalog is live yet");
  const Routed asked = Described(model, version);
  absl::StatusOr<const ServedModel*> served = table()->Find(asked.model, asked.version);
  if (!served.ok()) return served.status();
  if (!PipelineUp() || gate_.any_open()) {
    return absl::UnavailableError("a stage has no ready worker");
  }
  if (breakers_.IsOpen(**served, MonotonicNanos())) {
    return absl::UnavailableError("the model ended worker after worker and is shut out for now");
  }
  return probe_.ModelReady((*served)->place);
}

std::vector<ModelStatistic> IngressLane::Statistics(std::string_view model,
                                                    std::string_view version) const {
  std::vector<ModelStatistic> statistics = statistics_->Read(model, version);
  for (ModelStatistic& one : statistics) {
    const auto served = table() == nullptr
                            ? absl::StatusOr<const ServedModel*>(absl::NotFoundError(""))
                            : table()->Find(one.name, one.version);
    if (served.ok()) one.golden_age_ms = probe_.AgeMs((*served)->place);
  }
  return statistics;
}

void IngressLane::ChangeModel(const ModelChange& change, ChangeDone done) {
  if (!shared_.change_model) {
    return done(absl::UnimplementedError("this server cannot load and unload models"));
  }
  shared_.change_model(change, [lane = lane_, done = std::move(done)](const absl::Status& status) {
    lane->Post([done, status] { done(status); });
  });
}

// One store where nothing has changed: this stands in the lane's duty cycle.
void IngressLane::PublishOldestCatalog() {
  while (tables_.size() > 1 && tables_.front().flights == 0) tables_.pop_front();
  if (table() != nullptr && judged_generation_ != table()->catalog()->generation() &&
      probe_.Judged()) {
    judged_generation_ = table()->catalog()->generation();
  }
  uint64_t generation = judged_generation_;
  if (tables_.size() > 1) generation = tables_.front().table->catalog()->generation();
  lane_->page().Set(Counter::kOldestCatalog, generation);
}

// Never 0: sequences begin at 1.
RequestId IngressLane::RequestIdOf(uint16_t slot) const {
  return uint64_t{flights_[slot].sequence} << 16 | slot;
}

void IngressLane::Refuse(const InferRequest& request, int64_t now, const absl::Status& status,
                         Completion* completion) {
  if (!sending_golden_) lane_->page().Add(Counter::kRefused);
  ModelStatsWords* const stats = CountRefusal(request, now, status);
  FlightTrace trace;
  if (!sending_golden_) tracer_.BeginRefused(request.trace, now, &trace);
  KeptTrace kept = KeepRefused(trace, status.code(), now, stats);
  InferAnswer answer;
  answer.status = status;
  answer.retry_after_ms = RetryAfterMs(status);
  answer.trace = RequestTracer::Told(trace);
  completion->Done(answer);
  WriteTrace(&kept);
}

RequestId IngressLane::Infer(const InferRequest& asked, Completion* completion) {
  const int64_t now = asked.came_ns != 0 ? asked.came_ns : MonotonicNanos();
  FaultVerdict fault;
  if (faults_ != nullptr) fault = faults_->Meet(asked, now, &lane_->page());
  if (!fault.status.ok()) {
    Refuse(asked, now, fault.status, completion);
    return 0;
  }
  Entry entry;
  Enter(asked, now, &entry);
  InferRequest moved;
  const InferRequest* sent = &asked;
  if (!entry.status.ok() && HasFallbacks(asked.route)) {
    moved = asked;
    sent = &moved;
    if (EnterElsewhere(&moved, now, &entry, completion)) return 0;
  }
  const InferRequest& request = *sent;
  if (!entry.status.ok()) {
    Refuse(request, now, entry.status, completion);
    return 0;
  }
  return Begin(request, now, fault, &entry, completion);
}

RequestId IngressLane::Begin(const InferRequest& request, int64_t now, const FaultVerdict& fault,
                             Entry* entry, Completion* completion) {
  const uint16_t slot = free_slots_.back();
  free_slots_.pop_back();
  Flight& flight = flights_[slot];
  flight.state = FlightState::kWaiting;
  flight.golden = sending_golden_;
  flight.shadow = sending_shadow_;
  flight.alone = flight.probe = entry->probes.model;
  flight.stage_probe = entry->probes.stage;
  flight.cancelled = false;
  flight.attempt = 0;
  flight.suspicion.Clear();
  flight.client_id_hash = HashClientId(request.id);
  if (++flight.sequence == 0) flight.sequence = 1;
  flight.completion = completion;
  flight.table = &tables_.back();
  ++flight.table->flights;
  flight.use = request.route;
  if (flight.use.rule != nullptr) flight.routes = routes_;
  flight.pairs.fill(ShadowPairs::kNone);
  flight.request = std::move(entry->checked);
  flight.deadline_ns = entry->deadline_ns;
  flight.priority = static_cast<uint8_t>(
      sending_shadow_ ? kShadowPriority : std::min(request.priority, kShadowPriority - 1));
  flight.faults = fault.asked;
  flight.fault_key = fault.key;
  flight.input = entry->input;
  flight.counters = counters_[flight.request.model->place];
  flight.stats = &lane_->stats().Of(static_cast<uint16_t>(flight.request.model->model->route()));
  if (sending_golden_) {
    flight.trace = FlightTrace();
  } else {
    tracer_.Begin(request.trace, now, slot, &flight.trace);
  }
  flight.accepted_ns = now;
  flight.submitted_ns = 0;
  flight.stored_ns = MonotonicNanos();
  ++in_flight_;
  golden_in_flight_ += flight.golden;
  Count(flight, Counter::kTaken);
  if (fault.hold_until_ns != 0) {
    faults_->Hold(slot, flight.sequence, fault);
    return RequestIdOf(slot);
  }
  const RequestId id = RequestIdOf(slot);
  // Nobody overtakes those that wait already, but by priority or deadline among them.
  if (!waiting_.empty() || !Dispatch(slot, flight.stored_ns)) {
    // A shadow waits for nothing.
    if (flight.shadow) return Fail(slot, absl::UnavailableError("no worker is free")), 0;
    Wait(slot);
  }
  if (HasShadows(flight.use)) SendShadows(slot, request);
  return id;
}

void IngressLane::Cancel(RequestId id) {
  const uint16_t slot = static_cast<uint16_t>(id);
  if (slot >= flights_.size() || flights_[slot].state == FlightState::kFree ||
      RequestIdOf(slot) != id) {
    return;
  }
  flights_[slot].cancelled = true;
  any_cancelled_ = true;
}

void IngressLane::FindNeeds(const CheckedRequest& request, StageNeeds* needs) {
  const ServedModel& model = *request.model;
  // In its place, not by a copy (ipc/copy_pieces.h).
  const auto add = [needs](Stage stage, size_t block_bytes) -> StageNeed& {
    StageNeed& need = needs->emplace_back();
    need.stage = stage;
    need.block_bytes = block_bytes;
    return need;
  };
  if (request.raw_columns) add(Stage::kFeatures, model.FeaturesBytes(request.rows));
  for (const ServedModel* member : model.members) {
    add(Stage::kExecution, member->ExecutionBytes(request.rows, request.outputs));
  }
  if (request.needs_aggregation) {
    add(Stage::kAggregation, model.AggregationBytes(request.rows, request.outputs)).units =
        static_cast<uint32_t>(model.members.size());
  }
}

bool IngressLane::Dispatch(uint16_t slot, int64_t now) {
  Flight& flight = flights_[slot];
  StageNeeds needs;
  FindNeeds(flight.request, &needs);
  if (!windows_.Take(needs, &flight.route)) return false;
  LedgerEntry entry;
  entry.deadline_ns = flight.deadline_ns;
  entry.route = static_cast<uint16_t>(flight.request.model->model->route());
  entry.members = static_cast<uint8_t>(flight.request.model->members.size());
  entry.priority = flight.priority;
  entry.faults = flight.faults;
  entry.fault_key = flight.fault_key;
  entry.outputs = flight.request.outputs;
  entry.trace[0] = flight.trace.own.trace.high;
  entry.trace[1] = flight.trace.own.trace.low;
  size_t member = 0;
  for (const WindowUse& use : flight.route) {
    if (use.stage == Stage::kFeatures) entry.features = use.worker;
    if (use.stage == Stage::kExecution) entry.execution[member++] = use.worker;
    if (use.stage == Stage::kAggregation) entry.aggregation = use.worker;
  }
  // Every first hop must be linked; further hops are, since their workers are ready.
  const bool linked = entry.features != 0
                          ? lane_->CanSend(entry.features)
                          : std::all_of(entry.execution, entry.execution + member,
                                        [&](uint32_t worker) { return lane_->CanSend(worker); });
  if (!linked) {
    for (const WindowUse& use : flight.route) windows_.GiveBack(use);
    flight.route.clear();
    return false;
  }
  flight.last_worker = flight.route.back().worker;
  Submit(slot, entry, now);
  return true;
}

void IngressLane::Submit(uint16_t slot, const LedgerEntry& entry, int64_t now) {
  Flight& flight = flights_[slot];
  flight.state = FlightState::kSent;
  flight.features = entry.features;
  flight.aggregation = entry.aggregation;
  std::copy(std::begin(entry.execution), std::end(entry.execution), flight.execution);
  PartId id = IdOf(slot);
  ledger_->Open(id, entry);
  Message message;
  message.deadline_ns = flight.deadline_ns;
  message.origin = lane_->id().incarnation;
  message.flags = flight.alone ? kFlagAlone : 0;
  flight.submitted_ns = now;
  message.published_ticks = PublishedTicks(flight.submitted_ns);
  message.block = flight.input;
  message.id = id.Pack();
  message.route = entry.route;
  if (entry.features != 0) {
    lane_->Send(entry.features, message);
  } else {
    for (size_t m = 0; m < entry.members; ++m) {
      id.member = static_cast<uint8_t>(m);
      message.id = id.Pack();
      message.route = static_cast<uint16_t>(flight.request.model->members[m]->model->route());
      // A worker that never gives credits is found out here, and its end sends this flight again.
      if (!lane_->Send(entry.execution[m], message)) return;
    }
  }
}

void IngressLane::Wait(uint16_t slot) {
  waiting_.Push(slot, PriorityRank(flights_[slot].priority), flights_[slot].deadline_ns);
}

void IngressLane::DispatchWaiting() {
  if (!dispatch_again_ || waiting_.empty()) return;
  dispatch_again_ = false;
  while (!waiting_.empty()) {
    // Off the queue first: a worker found faulty while this one is sent puts its flights in front.
    const uint16_t slot = waiting_.PopFront();
    if (Dispatch(slot, MonotonicNanos())) {
      LeftQueue(flights_[slot]);
      continue;
    }
    waiting_.PutBack(slot);
    return;
  }
}

void IngressLane::SendHeld(int64_t now) {
  faults_->Release(
      now,
      [this](uint16_t slot, uint32_t sequence) {
        return flights_[slot].state != FlightState::kFree && flights_[slot].sequence == sequence;
      },
      [this](uint16_t slot) {
        Wait(slot);
        dispatch_again_ = true;
      });
}

size_t IngressLane::Poll() {
  timespec wall;
  clock_gettime(CLOCK_REALTIME_COARSE, &wall);
  wall_ms_ = static_cast<uint64_t>(wall.tv_sec) * 1000 + wall.tv_nsec / kNanosPerMilli;
  ended_ns_ = 0;
  const uint64_t roster_before = lane_->roster().generation;
  const size_t done = lane_->Poll();
  if (lane_->roster().generation != roster_before) dispatch_again_ = true;
  const int64_t now_ns = MonotonicNanos();
  lane_->Turned(now_ns);
  ExpireAndCancel(now_ns);
  StepOverload(now_ns);
  if (faults_ != nullptr) SendHeld(MonotonicNanos());
  StepQuiescence();
  DispatchWaiting();
  probe_.Step();
  Page& page = lane_->page();
  page.Set(Counter::kInFlight, in_flight_ - golden_in_flight_);
  page.Set(Counter::kQueueDepth, waiting_.size());
  page.Set(Counter::kLimbo, quiescence_.waiting());
  PublishOldestCatalog();
  return done;
}

int64_t IngressLane::MaxSleepNs() const {
  if (in_flight_ > 0 || quiescence_.active()) return kSweepNs;
  return std::clamp<int64_t>(probe_.NextNs() - MonotonicNanos(), kSweepNs, kIdleSleepNs);
}

}  // namespace millrace
