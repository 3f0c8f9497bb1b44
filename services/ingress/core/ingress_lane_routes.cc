// Routes: where a request goes, what answers where that cannot, and who is asked in its shadow.
#include <algorithm>
#include <utility>

#include "common/clock.h"
#include "services/ingress/core/ingress_lane.h"
#include "services/ingress/routes/routing_table.h"

namespace millrace {
namespace {

constexpr char kClientKey[] = "millrace-client-key";
constexpr uint8_t kLastAttempt = 255;

bool CannotAnswer(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsInternal(status);
}

std::string_view ClientKeyOf(const RouteQuestion& question) {
  if (!question.client_key.empty()) return question.client_key;
  if (question.headers != nullptr) {
    const std::string_view header = question.headers->Find(kClientKey);
    if (!header.empty()) return header;
  }
  return !question.id.empty() ? question.id : question.tenant;
}

}  // namespace

void IngressLane::SetRoutes(std::shared_ptr<const RoutingTable> routes,
                            std::function<void()> taken) {
  lane_->Post([this, routes = std::move(routes), taken = std::move(taken)] {
    routes_ = routes;
    taken();
  });
}

bool IngressLane::IsRouted(std::string_view model) const {
  return routes_ != nullptr && routes_->Has(model);
}

bool IngressLane::NamesPath(std::string_view prefix) const {
  return routes_ != nullptr && routes_->NamesPath(prefix);
}

Routed IngressLane::Resolve(const RouteQuestion& question) const {
  Routed routed = {question.model, question.version};
  if (routes_ == nullptr || routes_->empty() || table() == nullptr || !question.version.empty()) {
    return routed;
  }
  const CompiledRule* const rule = routes_->Find(question);
  if (rule == nullptr) return routed;
  routed.use.rule = rule;
  if (rule->needs_key && !question.describes) {
    const std::string_view key = ClientKeyOf(question);
    routed.use.key = key.empty() ? RouteKeyOfNobody(++routed_nobody_) : RouteKey(rule->name, key);
  }
  const CompiledTarget* target = rule->Pick(routed.use.key);
  if (target == nullptr) return routed;
  routed.model = target->model;
  routed.version = target->version;
  if (table()->Has(target->model, target->version)) return routed;
  // It has left the catalog: the next in the chain; else whatever the model has.
  for (size_t i = 0; i < rule->fallbacks.size(); ++i) {
    const CompiledFallback& fallback = rule->fallbacks[i];
    if (fallback.is_constant() || !table()->Has(fallback.model, fallback.version)) continue;
    routed.model = fallback.model;
    routed.version = fallback.version;
    routed.use.next_fallback = static_cast<uint8_t>(i + 1);
    return routed;
  }
  if (table()->Has(target->model, "")) routed.version = {};
  return routed;
}

bool IngressLane::HasFallbacks(const RouteUse& use) {
  return use.rule != nullptr && !use.rule->fallbacks.empty();
}

bool IngressLane::HasShadows(const RouteUse& use) {
  return use.rule != nullptr && !use.rule->shadows.empty();
}

std::string_view IngressLane::AskedName(const RouteUse& use, const Model& model) {
  return use.rule == nullptr ? std::string_view(model.name()) : use.rule->name;
}

std::string_view IngressLane::FallbackSaid(const RouteUse& use) {
  if (use.rule == nullptr || use.next_fallback == 0) return {};
  return use.rule->fallbacks[use.next_fallback - 1].said;
}

// A request that its target refused: the next that takes it. True: a constant has answered.
bool IngressLane::EnterElsewhere(InferRequest* request, int64_t now, Entry* entry,
                                 Completion* completion) {
  const std::vector<CompiledFallback>& chain = request->route.rule->fallbacks;
  const absl::Status why = entry->status;
  if (!CannotAnswer(why)) return false;
  CountRefusal(*request, now, why);
  while (request->route.next_fallback < chain.size()) {
    const CompiledFallback& next = chain[request->route.next_fallback++];
    if (next.is_constant()) {
      const int64_t rows = request->inputs.empty() || request->inputs[0].shape.empty()
                               ? 0
                               : request->inputs[0].shape[0];
      const bool bounded = rows > 0 && rows <= config_.max_batch_rows;
      if (bounded && AnswerByConstant(next, request->route, request->outputs, rows, completion)) {
        return true;
      }
      continue;
    }
    request->model = next.model;
    request->version = next.version;
    *entry = Entry();
    Enter(*request, now, entry);
    if (entry->status.ok()) return false;
  }
  entry->status = why;
  return false;
}

// As Enter, for a flight that has its place already.
void IngressLane::EnterAgain(const InferRequest& request, int64_t now, Entry* entry) {
  absl::Status& may = entry->status;
  may = table()->Check(request, &entry->checked);
  if (!may.ok()) return;
  const ServedModel& served = *entry->checked.model;
  may = probe_.ModelReady(served.place);
  if (request.deadline_ns <= now + counters_[served.place]->run().ns()) {
    may = absl::DeadlineExceededError("the deadline is nearer than the model is fast");
  }
  StageNeeds needs;
  FindNeeds(entry->checked, &needs);
  for (const StageNeed& need : needs) {
    if (windows_.BlockBytes(need.block_bytes) == 0) {
      may = absl::ResourceExhaustedError("outputs: the answer would be over the size limit");
    }
  }
  if (may.ok() && (breakers_.troubled() || gate_.troubled())) {
    may = PassBreakers(entry->checked, now, &entry->probes);
  }
  if (may.ok()) may = StoreInput(request, entry->checked, &entry->input);
}

// A flight that could not be answered: goes on to the next version of its chain, in its place.
// False: nothing takes it.
bool IngressLane::FallBack(uint16_t slot, const absl::Status& status) {
  Flight& flight = flights_[slot];
  if (flight.use.rule == nullptr || !CannotAnswer(status) || flight.attempt == kLastAttempt) {
    return false;
  }
  const int64_t now = MonotonicNanos();
  const std::vector<CompiledFallback>& chain = flight.use.rule->fallbacks;
  StoredRequest stored;
  if (flight.use.next_fallback >= chain.size() || !ReadStored(flight, &stored)) return false;
  InferRequest& request = stored.request;
  for (; flight.use.next_fallback < chain.size(); ++flight.use.next_fallback) {
    const CompiledFallback& next = chain[flight.use.next_fallback];
    if (next.is_constant()) return false;
    request.model = next.model;
    request.version = next.version;
    Entry entry;
    EnterAgain(request, now, &entry);
    if (!entry.status.ok()) continue;
    if (flight.attempt == 0 && !replays_.Take(in_flight_)) {
      lane_->Release(entry.input);
      return false;
    }
    ++flight.use.next_fallback;
    MoveFlight(slot, status, &entry);
    return true;
  }
  return false;
}

void IngressLane::MoveFlight(uint16_t slot, const absl::Status& why, Entry* entry) {
  Flight& flight = flights_[slot];
  if (flight.probe) breakers_.GaveUp(*flight.request.model);
  flight.counters->CountFailure(MonotonicNanos() - flight.accepted_ns);
  flight.stats->Code(static_cast<size_t>(why.code()));
  Abandon(flight);
  ledger_->Close(slot);
  lane_->Release(flight.input);
  if (flight.state == FlightState::kWaiting) waiting_.Erase(slot);
  --flight.table->flights;
  flight.table = &tables_.back();
  ++flight.table->flights;
  flight.request = std::move(entry->checked);
  flight.input = entry->input;
  flight.alone = flight.probe = entry->probes.model;
  flight.attempt += 1;
  flight.state = FlightState::kWaiting;
  flight.counters = counters_[flight.request.model->place];
  flight.stats = &lane_->stats().Of(static_cast<uint16_t>(flight.request.model->model->route()));
  Wait(slot);
  dispatch_again_ = true;
}

// What the flight's inputs were, read from our own arena.
bool IngressLane::ReadStored(const Flight& flight, StoredRequest* stored) const {
  const ServedModel& served = *flight.request.model;
  const absl::StatusOr<PackView> pack =
      PackView::Open({lane_->arena().At(flight.input.offset), flight.input.length});
  if (!pack.ok()) return false;
  stored->shapes.resize(pack->count());
  for (size_t i = 0; i < pack->count(); ++i) {
    const PackTensor tensor = pack->tensor(i);
    std::vector<int64_t>& shape = stored->shapes[i];
    shape = {pack->rows()};
    std::string_view name;
    if (flight.request.raw_columns) {
      if (tensor.name >= served.columns.size()) return false;
      name = served.columns[tensor.name].name;
      shape.push_back(1);
    } else {
      if (tensor.name >= served.model->inputs_size()) return false;
      const TensorSpec& spec = served.model->inputs(tensor.name);
      name = spec.name();
      shape.insert(shape.end(), spec.dims().begin(), spec.dims().end());
    }
    stored->inputs.push_back(
        {name,
         tensor.datatype,
         shape,
         {reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size()}});
  }
  for (const uint8_t o : flight.request.output_order) {
    stored->outputs.push_back(served.model->outputs(o).tensor().name());
  }
  stored->request.inputs = stored->inputs;
  stored->request.outputs = stored->outputs;
  stored->request.deadline_ns = flight.deadline_ns;
  stored->request.priority = flight.priority;
  stored->request.route = flight.use;
  return true;
}

// The constant of the chain, where that is what is left.
const CompiledFallback* IngressLane::ConstantOf(const RouteUse& use, const absl::Status& status) {
  if (use.rule == nullptr || !CannotAnswer(status)) return nullptr;
  const std::vector<CompiledFallback>& chain = use.rule->fallbacks;
  return !chain.empty() && chain.back().is_constant() ? &chain.back() : nullptr;
}

bool IngressLane::AnswerByConstant(const CompiledFallback& constant, const RouteUse& use,
                                   absl::Span<const std::string_view> outputs, int64_t rows,
                                   Completion* completion) {
  std::vector<TensorView> views;
  std::vector<std::string> storage;
  std::vector<std::array<int64_t, 2>> shapes;
  if (!ExpandConstant(constant.constant, outputs, rows, &views, &storage, &shapes)) return false;
  InferAnswer answer;
  answer.model = use.rule->name;
  answer.outputs = views;
  answer.fallback = constant.said;
  completion->Done(answer);
  return true;
}

void IngressLane::SendShadows(uint16_t slot, const InferRequest& request) {
  Flight& flight = flights_[slot];
  const CompiledRule& rule = *flight.use.rule;
  lane_->Flush();  // the client's request is on its way before anything is done for a shadow
  const Model& answers = *flight.request.model->model;
  for (size_t i = 0; i < std::min(rule.shadows.size(), flight.pairs.size()); ++i) {
    const CompiledShadow& shadow = rule.shadows[i];
    if (!shadow.beside.empty() && shadow.beside != answers.version()) continue;
    if (shadow.model == answers.name() && shadow.version == answers.version()) continue;
    const uint64_t key = rule.needs_key ? flight.use.key : 0;
    if (!TakesShare(key, shadow.version, shadow.parts)) continue;
    flight.pairs[i] = SendShadow(shadow, request, flight.deadline_ns);
  }
}

// Only where nobody waits and there is room: a shadow is the first to be left out.
uint8_t IngressLane::SendShadow(const CompiledShadow& shadow, const InferRequest& request,
                                int64_t deadline_ns) {
  const bool room = waiting_.empty() && !pairs_.full() && free_slots_.size() > flights_.size() / 2;
  const ServedModel* const served = table()->Lookup(shadow.model, shadow.version);
  if (!room || served == nullptr) return ShadowPairs::kNone;
  ModelStatsWords* const stats = &lane_->stats().Of(static_cast<uint16_t>(served->model->route()));
  const uint8_t pair = pairs_.Begin(stats, ScoreScaleOf(served->model->objective()));
  InferRequest copy = request;
  copy.model = shadow.model;
  copy.version = shadow.version;
  copy.deadline_ns = deadline_ns;
  copy.priority = kShadowPriority;
  copy.id = copy.fault = {};
  copy.trace = {};
  copy.route = {};
  const bool was_golden = std::exchange(sending_golden_, true);
  sending_shadow_ = true;
  Infer(copy, pairs_.ShadowSide(pair));
  sending_shadow_ = false;
  sending_golden_ = was_golden;
  return pairs_.Sent(pair) ? pair : ShadowPairs::kNone;
}

// The names that the answer holds live until it is told.
void IngressLane::FailRouted(uint16_t slot, const InferAnswer& answer) {
  Flight& flight = flights_[slot];
  const std::shared_ptr<const RoutingTable> routes = std::move(flight.routes);
  const ShadowList pairs = flight.pairs;
  const RouteUse use = flight.use;
  const CheckedRequest request = flight.request;
  Completion* const completion = Retire(slot);
  if (!AnswerFailed(use, answer.status, request, completion)) completion->Done(answer);
  TellShadows(pairs, nullptr);
}

// By the constant at the end of its chain, if it has one.
bool IngressLane::AnswerFailed(const RouteUse& use, const absl::Status& status,
                               const CheckedRequest& request, Completion* completion) {
  const CompiledFallback* const constant = ConstantOf(use, status);
  if (constant == nullptr) return false;
  std::vector<std::string_view> outputs;
  for (const uint8_t o : request.output_order) {
    outputs.push_back(request.model->model->outputs(o).tensor().name());
  }
  return AnswerByConstant(*constant, use, outputs, request.rows, completion);
}

void IngressLane::TellShadows(const ShadowList& pairs, const InferAnswer* answer) {
  for (const uint8_t pair : pairs) {
    if (pair != ShadowPairs::kNone) pairs_.ClientSide(pair, answer);
  }
}

void IngressLane::AskRoutes(RoutesQuestion question, RoutesDone done) {
  if (!shared_.ask_routes) return Frontend::AskRoutes(std::move(question), std::move(done));
  shared_.ask_routes(std::move(question),
                     [lane = lane_, done = std::move(done)](const RoutesReply& reply) {
                       lane->Post([done, reply] { done(reply); });
                     });
}

}  // namespace millrace
