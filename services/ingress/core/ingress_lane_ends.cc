// How a flight ends: by its answer, an error, its deadline, its client; or goes on after a death.

#include <algorithm>
#include <array>

#include "common/clock.h"
#include "ipc/stage_times.h"
#include "services/ingress/core/ingress_lane.h"

namespace millrace {
namespace {

constexpr uint8_t kLastAttempt = 255;
constexpr size_t kUsualOutputs = 8;  // more cost an allocation

}  // namespace

void IngressLane::Abandon(Flight& flight) {
  if (flight.state != FlightState::kSent) return;
  for (const WindowUse& use : flight.route) quiescence_.Add(use);
  flight.route.clear();
}

Completion* IngressLane::Retire(uint16_t slot) {
  Flight& flight = flights_[slot];
  if (flight.state == FlightState::kWaiting) waiting_.Erase(slot);
  if (flight.stage_probe) gate_.ProbeEnded();
  ledger_->Close(slot);
  lane_->Release(flight.input);
  flight.state = FlightState::kFree;
  --flight.table->flights;
  flight.routes = nullptr;
  free_slots_.push_back(slot);
  if (flight.attempt > 0 && !flight.golden) replays_.GiveBack();
  --in_flight_;
  golden_in_flight_ -= flight.golden;
  if (in_flight_ == golden_in_flight_) limit_.Emptied();
  dispatch_again_ = true;
  return std::exchange(flight.completion, nullptr);
}

void IngressLane::Fail(uint16_t slot, const absl::Status& status) {
  Abandon(flights_[slot]);
  const Flight& flight = flights_[slot];
  if (flight.probe) breakers_.GaveUp(*flight.request.model);
  Count(flight, Counter::kFailed);
  if (!flight.golden) {
    flight.counters->CountFailure(MonotonicNanos() - flight.accepted_ns);
    flight.stats->Code(static_cast<size_t>(status.code()));
  }
  KeptTrace kept;
  if (flight.trace.entered_ns != 0) {
    kept = KeepTrace(slot, status.code(), MonotonicNanos(), nullptr);
  }
  InferAnswer answer;
  answer.status = status;
  answer.retry_after_ms = RetryAfterMs(status);
  answer.trace = RequestTracer::Told(flight.trace);
  if (flight.use.rule == nullptr) {
    Retire(slot)->Done(answer);
  } else {
    FailRouted(slot, answer);
  }
  WriteTrace(&kept);
}

namespace {

void CountInPage(const ModelCounters::Success& success, uint64_t waited_ns,
                 ModelStatsWords* stats) {
  stats->Code(0);
  stats->Observe(StatsTime::kTotal, success.total_ns);
  stats->Observe(StatsTime::kQueue, waited_ns);
  stats->Add(StatsSum::kRows, success.rows);
  stats->Add(StatsSum::kExecutions, success.times.batch_rows > 0 ? 1 : 0);
  stats->Add(StatsSum::kTotalNs, success.total_ns);
  stats->Add(StatsSum::kQueueNs, success.times.queue_ns);
  stats->Add(StatsSum::kInputNs, success.times.input_ns);
  stats->Add(StatsSum::kInferNs, success.times.infer_ns);
  stats->Add(StatsSum::kOutputNs, success.times.output_ns);
}

}  // namespace

int64_t IngressLane::CountSuccess(const Flight& flight, const Message& message) {
  // Answers of one turn are told one after the other: where one ends the next begins.
  const int64_t now = ended_ns_ != 0 ? ended_ns_ : MonotonicNanos();
  StageTimes times = StageTimes::Unpack(message.times);
  flight.counters->run().Ran(times.input_ns + times.infer_ns + times.output_ns);
  if (flight.golden) return now;
  const ServedModel& served = *flight.request.model;
  const bool live = flight.table == &tables_.back();
  const auto outputs = static_cast<size_t>(served.model->outputs_size());
  if (live && flight.request.output_order.size() == outputs) {  // the whole way
    probe_.ClientAnswered(served.place, flight.request.raw_columns, flight.accepted_ns);
  }
  times.input_ns += flight.stored_ns - flight.accepted_ns;
  times.queue_ns += flight.submitted_ns - flight.stored_ns;
  // The members of an ensemble run in batches of their own plans; the ensemble runs once a request.
  if (flight.request.model->model->members_size() > 0) times.batch_rows = flight.request.rows;
  const ModelCounters::Success success = {
      flight.request.rows, static_cast<uint64_t>(now - flight.accepted_ns), wall_ms_, times};
  flight.counters->CountSuccess(success);
  CountInPage(success, static_cast<uint64_t>(flight.submitted_ns - flight.stored_ns), flight.stats);
  return now;
}

void IngressLane::Succeed(uint16_t slot, PeerLane& from, const Message& message) {
  Flight& flight = flights_[slot];
  auto bytes = from.Payload(message);
  PackView pack;
  const bool readable = bytes.has_value() && PackView::OpenInto(*bytes, &pack).ok();
  const Model& model = *flight.request.model->model;
  const size_t most = flight.request.output_order.size();
  absl::InlinedVector<TensorView, kUsualOutputs> outputs(most);
  absl::InlinedVector<std::array<int64_t, 2>, kUsualOutputs> shapes(most);
  size_t count = 0;
  for (uint8_t o : flight.request.output_order) {
    const size_t at = readable ? pack.Find(static_cast<uint16_t>(model.outputs(o).kind())) : 0;
    if (!readable || at == pack.count() || pack.rows() != flight.request.rows) {
      // Reporting ends the peer, and that sends the request again elsewhere.
      return lane_->Fault(from, "an answer that cannot be read");
    }
    const PackTensor tensor = pack.tensor(at);
    shapes[count][0] = flight.request.rows;
    shapes[count][1] = tensor.columns;
    outputs[count] = {model.outputs(o).tensor().name(),
                      tensor.datatype,
                      shapes[count],
                      {reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size()}};
    ++count;
  }
  for (const WindowUse& use : flight.route) windows_.GiveBack(use);
  flight.route.clear();
  // Keeps names alive through Done; the table's live to the next turn.
  const std::shared_ptr<const RoutingTable> routes = std::move(flight.routes);
  const ShadowList pairs = flight.pairs;
  InferAnswer answer;
  answer.model = AskedName(flight.use, model);
  answer.version = model.version();
  answer.fallback = FallbackSaid(flight.use);
  answer.outputs = {outputs.data(), count};
  Count(flight, Counter::kAnswered);
  const int64_t counted_ns = CountSuccess(flight, message);
  ModelStatsWords* const stats = flight.golden ? nullptr : flight.stats;
  KeptTrace kept = KeepTrace(slot, absl::StatusCode::kOk, counted_ns, &message);
  answer.trace = RequestTracer::Told(flight.trace);
  drain_.Answered();
  CountForLimit(flight, counted_ns);
  if (breakers_.troubled()) breakers_.Answered(*flight.request.model);
  Retire(slot)->Done(answer);
  // Compared is what the target itself said.
  TellShadows(pairs, answer.fallback.empty() ? &answer : nullptr);
  WriteTrace(&kept);
  if (stats == nullptr) return;
  ended_ns_ = MonotonicNanos();
  stats->Observe(StatsTime::kWrite, static_cast<uint64_t>(ended_ns_ - counted_ns));
}

void IngressLane::OnMessage(Inbound& from, const Message& message) {
  const PartId id = PartId::Unpack(message.id);
  const bool current = id.slot < flights_.size() && flights_[id.slot].state == FlightState::kSent &&
                       id == IdOf(id.slot) &&
                       flights_[id.slot].last_worker == from.peer->id.incarnation;
  if (!current) {
    lane_->page().Add(Counter::kStale);
  } else if (message.kind != MessageKind::kError) {
    Succeed(id.slot, *from.peer, message);
  } else {
    ended_ns_ = 0;
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
    const absl::Status status(code, sentence);
    if (!FallBack(id.slot, status)) Fail(id.slot, status);
  }
  lane_->Return(from, message);
}

bool IngressLane::WasExecuting(const PeerLane& dead, uint16_t slot) const {
  const Page& page = dead.page();
  // acquire: meets the release in Worker::NameCount.
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

void IngressLane::OnPeer(const std::shared_ptr<PeerLane>& peer) {
  windows_.WorkerUp(peer->id.incarnation);
  drain_.Restart();
  dispatch_again_ = true;
}

void IngressLane::OnPeerLost(const std::shared_ptr<PeerLane>& peer) {
  const uint32_t dead = peer->id.incarnation;
  const bool opened = CountModelDeaths(*peer);
  for (size_t slot = 0; slot < flights_.size(); ++slot) {
    Flight& flight = flights_[slot];
    if (flight.state != FlightState::kSent) continue;
    const bool named = std::any_of(flight.route.begin(), flight.route.end(),
                                   [&](const WindowUse& use) { return use.worker == dead; });
    if (named) Replay(static_cast<uint16_t>(slot), *peer);
  }
  windows_.WorkerLost(dead);
  drain_.Restart();
  if (opened) FailWaitingOfOpenModels();
  dispatch_again_ = true;
}

void IngressLane::Replay(uint16_t slot, const PeerLane& dead) {
  Flight& flight = flights_[slot];
  if (flight.shadow) return Fail(slot, absl::UnavailableError("its worker ended"));
  // A death in which it was not executing is another's: it proves nothing against this one.
  const bool suspect = WasExecuting(dead, slot);
  const bool poison = suspect && Suspect(flight, dead);
  if (poison || flight.attempt == kLastAttempt) {
    Count(flight, Counter::kPoisoned);
    TellPoisoned(flight);
    return Fail(slot, absl::InternalError("the request ended the workers that executed it"));
  }
  if (flight.attempt == 0 && !flight.golden && !replays_.Take(in_flight_)) {
    Shed(Counter::kShedReplays);
    return Fail(slot, absl::UnavailableError("its worker ended; too many are sent again already"));
  }
  flight.alone = flight.alone || suspect;
  Abandon(flight);
  ledger_->Close(slot);
  flight.attempt += 1;
  flight.state = FlightState::kWaiting;
  Wait(slot);
  Count(flight, Counter::kReplayed);
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
      Count(flight, Counter::kExpired);
      CountForLimit(flight, now);
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

}  // namespace millrace
