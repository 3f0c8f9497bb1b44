#include "services/ingress/core/ingress_lane.h"

#include <string.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/clock.h"

namespace millrace {
namespace {

constexpr int64_t kSweepNs = kNanosPerMilli;
constexpr int64_t kIdleSleepNs = Waiter::kMaxSleepMs * kNanosPerMilli;
constexpr uint8_t kLastAttempt = 255;

}  // namespace

IngressLane::IngressLane(Lane* lane, Ledger* ledger, const Config& config)
    : lane_(lane),
      ledger_(ledger),
      config_(config),
      windows_(lane, config),
      flights_(config.max_in_flight) {
  for (size_t slot = flights_.size(); slot-- > 0;) {
    free_slots_.push_back(static_cast<uint16_t>(slot));
  }
  lane->set_handler(this);
}

void IngressLane::SetCatalog(std::shared_ptr<const Catalog> catalog) {
  std::shared_ptr<const ModelTable> table = ModelTable::Make(std::move(catalog));
  lane_->Post([this, table] { coming_.push_back(table); });
}

void IngressLane::GoLive(uint64_t generation) {
  lane_->Post([this, generation] {
    for (const auto& table : coming_) {
      if (table->catalog()->generation() == generation) table_ = table;
    }
    std::erase_if(coming_, [&](const auto& t) { return t->catalog()->generation() <= generation; });
    // relaxed: a statistic.
    lane_->page().catalog_generation.store(generation, std::memory_order_relaxed);
  });
}

std::shared_ptr<const Catalog> IngressLane::catalog() const {
  return table_ == nullptr ? nullptr : table_->catalog();
}

bool IngressLane::ServerReady() const {
  return table_ != nullptr && windows_.HasReady(Stage::kFeatures) &&
         windows_.HasReady(Stage::kExecution) && windows_.HasReady(Stage::kAggregation);
}

absl::Status IngressLane::ModelReady(std::string_view model, std::string_view version) const {
  if (table_ == nullptr) return absl::UnavailableError("no catalog is live yet");
  absl::StatusOr<const ServedModel*> served = table_->Find(model, version);
  if (!served.ok()) return served.status();
  if (!ServerReady()) return absl::UnavailableError("a stage has no ready worker");
  return absl::OkStatus();
}

PartId IngressLane::IdOf(uint16_t slot) const {
  return {slot, flights_[slot].sequence, flights_[slot].attempt, 0};
}

// Never 0: sequences begin at 1.
RequestId IngressLane::RequestIdOf(uint16_t slot) const {
  return uint64_t{flights_[slot].sequence} << 16 | slot;
}

absl::Status IngressLane::Admit(const InferRequest& request, CheckedRequest* checked,
                                int64_t* deadline_ns) {
  if (table_ == nullptr) return absl::UnavailableError("no model is served yet");
  absl::StatusOr<CheckedRequest> fits = table_->Check(request);
  if (!fits.ok()) return fits.status();
  *checked = std::move(*fits);
  const int64_t now = MonotonicNanos();
  const int64_t longest = now + config_.max_deadline_ms * kNanosPerMilli;
  *deadline_ns = request.deadline_ns == 0 ? now + config_.default_deadline_ms * kNanosPerMilli
                                          : std::min(request.deadline_ns, longest);
  uint64_t queued_ns = windows_.QueueDelayNs(Stage::kExecution);
  if (checked->raw_columns) queued_ns += windows_.QueueDelayNs(Stage::kFeatures);
  if (checked->needs_aggregation) queued_ns += windows_.QueueDelayNs(Stage::kAggregation);
  if (*deadline_ns <= now + static_cast<int64_t>(queued_ns)) {
    return absl::DeadlineExceededError("the deadline is nearer than the queues are long");
  }
  if (free_slots_.empty()) return absl::UnavailableError("too many requests are in flight");
  return absl::OkStatus();
}

absl::StatusOr<BlockRef> IngressLane::StoreInput(const InferRequest& request,
                                                 const CheckedRequest& checked) {
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
  const std::optional<BlockRef> block = lane_->arena().Allocate(pack.bytes());
  if (!block.has_value()) return absl::UnavailableError("no memory for a request of this size now");
  pack.Place(lane_->arena().At(block->offset));
  for (size_t i = 0; i < request.inputs.size(); ++i) {
    memcpy(pack.Data(i), request.inputs[i].raw.data(), request.inputs[i].raw.size());
  }
  return *block;
}

RequestId IngressLane::Infer(const InferRequest& request, Completion* completion) {
  CheckedRequest checked;
  int64_t deadline_ns = 0;
  absl::Status status = Admit(request, &checked, &deadline_ns);
  BlockRef block;
  if (status.ok()) {
    for (const StageNeed& need : Needs(checked)) {
      if (windows_.BlockBytes(need.block_bytes) != 0) continue;
      status = absl::ResourceExhaustedError("outputs: the answer would be over the size limit");
    }
  }
  if (status.ok()) {
    absl::StatusOr<BlockRef> input = StoreInput(request, checked);
    status = input.status();
    if (input.ok()) block = *input;
  }
  if (!status.ok()) {
    lane_->page().Add(Counter::kRefused);
    InferAnswer answer;
    answer.status = status;
    completion->Done(answer);
    return 0;
  }
  const uint16_t slot = free_slots_.back();
  free_slots_.pop_back();
  Flight& flight = flights_[slot];
  flight.state = FlightState::kWaiting;
  flight.alone = flight.cancelled = false;
  flight.attempt = 0;
  flight.sequence += 1;
  if (flight.sequence == 0) flight.sequence = 1;
  flight.completion = completion;
  flight.table = table_;
  flight.request = std::move(checked);
  flight.deadline_ns = deadline_ns;
  flight.priority = static_cast<uint8_t>(std::min<uint32_t>(request.priority, 255));
  flight.input = block;
  ++in_flight_;
  lane_->page().Add(Counter::kTaken);
  // Nobody overtakes those that wait already.
  if (!waiting_.empty() || !Dispatch(slot)) waiting_.push_back(slot);
  return RequestIdOf(slot);
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

std::vector<StageNeed> IngressLane::Needs(const CheckedRequest& request) {
  const ServedModel& model = *request.model;
  const auto members = static_cast<uint32_t>(model.members.size());
  std::vector<StageNeed> needs;
  if (request.raw_columns) {
    needs.push_back({Stage::kFeatures, 1, model.FeaturesBytes(request.rows), 1});
  }
  for (const ServedModel* member : model.members) {
    needs.push_back(
        {Stage::kExecution, 1, member->ExecutionBytes(request.rows, request.outputs), 1});
  }
  if (request.needs_aggregation) {
    needs.push_back(
        {Stage::kAggregation, members, model.AggregationBytes(request.rows, request.outputs), 1});
  }
  return needs;
}

bool IngressLane::Dispatch(uint16_t slot) {
  Flight& flight = flights_[slot];
  const std::vector<StageNeed> needs = Needs(flight.request);
  std::optional<std::vector<WindowUse>> route = windows_.Take(needs);
  if (!route.has_value()) return false;
  LedgerEntry entry;
  entry.deadline_ns = flight.deadline_ns;
  entry.route = static_cast<uint16_t>(flight.request.model->model->route());
  entry.members = static_cast<uint8_t>(flight.request.model->members.size());
  entry.priority = flight.priority;
  entry.outputs = flight.request.outputs;
  size_t member = 0;
  for (const WindowUse& use : *route) {
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
    for (const WindowUse& use : *route) windows_.GiveBack(use);
    return false;
  }
  flight.route = std::move(*route);
  flight.last_worker = flight.route.back().worker;
  Submit(slot, entry);
  return true;
}

void IngressLane::Submit(uint16_t slot, const LedgerEntry& entry) {
  Flight& flight = flights_[slot];
  flight.state = FlightState::kSent;
  flight.sent_ns = MonotonicNanos();
  PartId id = IdOf(slot);
  ledger_->Open(id, entry);
  Message message;
  message.deadline_ns = flight.deadline_ns;
  message.origin = lane_->id().incarnation;
  message.flags = flight.alone ? uint32_t{kFlagAlone} : 0;
  message.published_ns = flight.sent_ns;
  message.block = flight.input;
  message.id = id.Pack();
  message.route = entry.route;
  bool sent = true;
  if (entry.features != 0) {
    sent = lane_->Send(entry.features, message);
  } else {
    for (size_t m = 0; m < entry.members; ++m) {
      id.member = static_cast<uint8_t>(m);
      message.id = id.Pack();
      message.route = static_cast<uint16_t>(flight.request.model->members[m]->model->route());
      sent = lane_->Send(entry.execution[m], message) && sent;
    }
  }
  MR_CHECK(sent, "a link that could be sent on is gone");
}

void IngressLane::DispatchWaiting() {
  if (!dispatch_again_ || waiting_.empty()) return;
  dispatch_again_ = false;
  while (!waiting_.empty() && Dispatch(waiting_.front())) waiting_.pop_front();
}

void IngressLane::Abandon(Flight& flight) {
  if (flight.state != FlightState::kSent) return;
  for (const WindowUse& use : flight.route) quiescence_.Add(use);
  flight.route.clear();
}

Completion* IngressLane::Retire(uint16_t slot) {
  Flight& flight = flights_[slot];
  if (flight.state == FlightState::kWaiting) std::erase(waiting_, slot);
  ledger_->Close(slot);
  lane_->Release(flight.input);
  flight.state = FlightState::kFree;
  flight.table = nullptr;
  free_slots_.push_back(slot);
  --in_flight_;
  dispatch_again_ = true;
  return std::exchange(flight.completion, nullptr);
}

void IngressLane::Fail(uint16_t slot, const absl::Status& status) {
  Abandon(flights_[slot]);
  lane_->page().Add(Counter::kFailed);
  InferAnswer answer;
  answer.status = status;
  Retire(slot)->Done(answer);
}

void IngressLane::Succeed(uint16_t slot, const PeerLane& from, const Message& message) {
  Flight& flight = flights_[slot];
  auto bytes = from.arena.Get(message.block);
  absl::StatusOr<PackView> pack =
      bytes.has_value() ? PackView::Open(*bytes)
                        : absl::FailedPreconditionError("a block lies outside its arena");
  const Model& model = *flight.request.model->model;
  TensorView outputs[kMaxPackTensors];
  int64_t shapes[kMaxPackTensors][2];
  size_t count = 0;
  for (uint8_t o : flight.request.output_order) {
    const size_t at = pack.ok() ? pack->Find(static_cast<uint16_t>(model.outputs(o).kind())) : 0;
    if (!pack.ok() || at == pack->count() || pack->rows() != flight.request.rows) {
      // Reporting ends the peer, and that sends the request again elsewhere.
      return lane_->Fault(*lane_->FindPeer(from.id.incarnation), "an answer that cannot be read");
    }
    const PackTensor tensor = pack->tensor(at);
    shapes[count][0] = flight.request.rows;
    shapes[count][1] = tensor.columns;
    outputs[count] = {model.outputs(o).tensor().name(),
                      tensor.datatype,
                      {shapes[count], 2},
                      {reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size()}};
    ++count;
  }
  for (const WindowUse& use : flight.route) windows_.GiveBack(use);
  flight.route.clear();
  std::shared_ptr<const ModelTable> table = flight.table;  // keeps names alive through Done
  InferAnswer answer;
  answer.model = model.name();
  answer.version = model.version();
  answer.outputs = {outputs, count};
  lane_->page().Add(Counter::kAnswered);
  Retire(slot)->Done(answer);
}

void IngressLane::OnMessage(Inbound& from, const Message& message) {
  const PartId id = PartId::Unpack(message.id);
  const bool current = id.slot < flights_.size() && flights_[id.slot].state == FlightState::kSent &&
                       id == IdOf(id.slot) &&
                       flights_[id.slot].last_worker == from.peer->id.incarnation;
  if (!current) {
    lane_->page().Add(Counter::kStale);
  } else if (message.kind == MessageKind::kData) {
    Succeed(id.slot, *from.peer, message);
  } else {
    auto text = from.peer->arena.Get(message.block);
    std::string sentence = "the request failed";
    if (message.block.length > 0 && text.has_value()) {
      sentence.assign(reinterpret_cast<const char*>(text->data()), text->size());
    }
    const bool known = message.code > 0 && message.code <= 16;
    const auto code =
        known ? static_cast<absl::StatusCode>(message.code) : absl::StatusCode::kInternal;
    // Its own last worker answered: the whole route is done with it.
    for (const WindowUse& use : flights_[id.slot].route) windows_.GiveBack(use);
    flights_[id.slot].route.clear();
    Fail(id.slot, absl::Status(code, sentence));
  }
  lane_->Return(from, message.block);
}

void IngressLane::OnPeer(const std::shared_ptr<PeerLane>& peer) {
  windows_.WorkerUp(peer->id.incarnation);
  dispatch_again_ = true;
}

bool IngressLane::WasExecuting(const PeerLane& dead, uint16_t slot) const {
  const Page& page = dead.page();
  // acquire: meets the release in Worker::Executing.
  const uint32_t count = page.executing_count.load(std::memory_order_acquire);
  for (size_t i = 0; i < std::min<size_t>(count, kMaxExecuting); ++i) {
    // relaxed: ordered by the count.
    if (page.executing_origin[i].load(std::memory_order_relaxed) != lane_->id().incarnation)
      continue;
    // relaxed: as above.
    PartId id = PartId::Unpack(page.executing_id[i].load(std::memory_order_relaxed));
    id.member = 0;
    if (id == IdOf(slot)) return true;
  }
  return false;
}

void IngressLane::OnPeerLost(const std::shared_ptr<PeerLane>& peer) {
  const uint32_t dead = peer->id.incarnation;
  for (size_t slot = 0; slot < flights_.size(); ++slot) {
    Flight& flight = flights_[slot];
    if (flight.state != FlightState::kSent) continue;
    const bool named = std::any_of(flight.route.begin(), flight.route.end(),
                                   [&](const WindowUse& use) { return use.worker == dead; });
    if (named) Replay(static_cast<uint16_t>(slot), *peer);
  }
  windows_.WorkerLost(dead);
  dispatch_again_ = true;
}

void IngressLane::Replay(uint16_t slot, const PeerLane& dead) {
  Flight& flight = flights_[slot];
  const bool suspect = WasExecuting(dead, slot);
  if ((suspect && flight.alone) || flight.attempt == kLastAttempt) {
    lane_->page().Add(Counter::kPoisoned);
    return Fail(slot, absl::InternalError("the request ended the workers that executed it"));
  }
  flight.alone = flight.alone || suspect;
  Abandon(flight);
  ledger_->Close(slot);
  flight.attempt += 1;
  flight.state = FlightState::kWaiting;
  waiting_.push_front(slot);
  lane_->page().Add(Counter::kReplayed);
}

void IngressLane::ExpireAndCancel(int64_t now) {
  if (now < next_sweep_ns_ && !any_cancelled_) return;
  next_sweep_ns_ = now + kSweepNs;
  any_cancelled_ = false;
  if (in_flight_ == 0) return;
  for (size_t i = 0; i < flights_.size(); ++i) {
    const auto slot = static_cast<uint16_t>(i);
    Flight& flight = flights_[slot];
    if (flight.state == FlightState::kFree) continue;
    if (flight.cancelled) {
      Fail(slot, absl::CancelledError("cancelled by the client"));
    } else if (now > flight.deadline_ns) {
      lane_->page().Add(Counter::kExpired);
      Fail(slot, absl::DeadlineExceededError("the deadline passed before the answer was there"));
    }
  }
}

void IngressLane::StepQuiescence() {
  if (!quiescence_.active()) return;
  answers_.clear();
  const uint64_t mine = lane_->id().incarnation;
  for (const auto& peer : lane_->peers()) {
    WorkerAnswer answer = {peer->id.stage, 0};
    for (const auto& word : peer->page().quiesced) {
      // acquire: meets the release in Worker::AnswerEpochs; what it passed on is visible.
      const uint64_t value = word.load(std::memory_order_acquire);
      if (value >> 32 != mine) continue;
      const auto epoch = static_cast<uint32_t>(value);
      if (static_cast<int32_t>(epoch - answer.epoch) > 0) answer.epoch = epoch;
    }
    answers_.push_back(answer);
  }
  freed_.clear();
  if (std::optional<uint32_t> epoch = quiescence_.Step(answers_, &freed_)) {
    // release: meets the acquire in Worker::AnswerEpochs.
    lane_->page().epoch.store(*epoch, std::memory_order_release);
    lane_->WakeAll();
  }
  for (const WindowUse& use : freed_) windows_.GiveBack(use);
  if (!freed_.empty()) dispatch_again_ = true;
}

size_t IngressLane::Poll() {
  const uint64_t roster_before = lane_->roster().generation;
  const size_t done = lane_->Poll();
  if (lane_->roster().generation != roster_before) dispatch_again_ = true;
  ExpireAndCancel(MonotonicNanos());
  StepQuiescence();
  DispatchWaiting();
  Page& page = lane_->page();
  page.Set(Counter::kInFlight, in_flight_);
  page.Set(Counter::kQueueDepth, waiting_.size());
  page.Set(Counter::kLimbo, quiescence_.waiting());
  return done;
}

int64_t IngressLane::MaxSleepNs() const {
  return in_flight_ > 0 || quiescence_.active() ? kSweepNs : kIdleSleepNs;
}

}  // namespace millrace
