#include "services/simulation/clients.h"

#include <string.h>

#include <algorithm>
#include <iterator>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "services/simulation/virtual_time.h"
#include "services/simulation/world.h"

namespace millrace::sim {
namespace {

// Farther than all faults of a world and its recovery: such a request must not expire.
constexpr int64_t kFarNs = 60 * kNanosPerSecond;
constexpr uint32_t kRowsApart = 4;  // inputs of two requests are never the same

struct Kind {
  const char* model;
  bool raw;
  bool prediction;
  bool label;
};
// In the order of Clients::kOf...
constexpr Kind kKindTable[] = {
    {kPlainModel, false, true, false}, {kViewModel, true, true, false},
    {kViewModel, false, true, true},   {kEnsemble, false, true, true},
    {kPlainModel, false, false, true}, {kEnsemble, true, true, false},
};
static_assert(std::size(kKindTable) == Clients::kKinds);

}  // namespace

float Clients::Request::Input(size_t row) const {
  const auto x = static_cast<float>(number * kRowsApart + row + 1);
  return poison ? -x : x;
}

void Clients::Begin(size_t requests) {
  wanted_ += requests;
  AskLater();
}

void Clients::AskLater() {
  const int64_t gap_ns = world_->random().Between(0, 600'000);
  world_->scheduler().In(gap_ns, [this] {
    if (done()) return;
    if (SimLane* lane = ChooseLane()) {
      ++asked_;
      Send(NewRequest(), lane);
    }
    AskLater();
  });
}

void Clients::Burst(SimLane* lane, size_t count, bool hasty) {
  for (size_t i = 0; i < count; ++i) {
    Request* request = NewRequest();
    request->hasty = hasty;
    Send(request, lane);
  }
}

SimLane* Clients::ChooseLane() const {
  std::vector<SimLane*> lanes;
  for (const auto& [key, process] : world_->processes()) {
    if (!process->live() || process->leaving() || process->dying()) continue;
    for (const auto& lane : process->lanes()) {
      if (lane->open()) lanes.push_back(lane.get());
    }
  }
  return lanes.empty() ? nullptr : lanes[world_->random().Below(lanes.size())];
}

Clients::Request* Clients::NewRequest() {
  Random& random = world_->random();
  Request& request = requests_.emplace_back();
  request.clients = this;
  request.number = static_cast<uint32_t>(requests_.size());
  request.kind = static_cast<uint8_t>(random.Below(kKinds));
  request.rows = static_cast<uint8_t>(random.Between(1, 4));
  request.poison = world_->faults_are_on() && random.OneIn(700);
  return &request;
}

void Clients::Send(Request* request, SimLane* lane) {
  request->lane = lane->incarnation();
  lane->Call([this, request, lane](IngressLane&) { Ask(request, lane); });
}

void Clients::Ask(Request* request, SimLane* lane) {
  const Kind& kind = kKindTable[request->kind];
  const int64_t now_ns = VirtualTime::now_ns();
  const std::shared_ptr<const Catalog> catalog = lane->ingress()->catalog();
  request->generation = catalog == nullptr ? 0 : catalog->generation();
  request->asked_ns = now_ns;
  request->deadline_ns = now_ns + kFarNs;
  DrawUrgency(request);
  request->state = State::kAsked;
  ++outstanding_;
  float values[4];
  for (size_t row = 0; row < request->rows; ++row) values[row] = request->Input(row);
  const int64_t shape[] = {request->rows, 1};
  const TensorView input = {kind.raw ? "x" : "input",
                            DataType::kFp32,
                            shape,
                            {reinterpret_cast<const char*>(values), 4u * request->rows}};
  std::vector<std::string_view> outputs;
  if (kind.prediction) outputs.push_back("prediction");
  if (kind.label) outputs.push_back("class");
  InferRequest infer;
  infer.model = kind.model;
  infer.inputs = {&input, 1};
  infer.outputs = outputs;
  infer.deadline_ns = request->deadline_ns;
  infer.priority = request->priority;
  request->id = lane->ingress()->Infer(infer, request);
  if (request->id != 0) by_id_[{request->lane, request->id}] = request;
  world_->history().Note("asked", request->number, request->kind, request->id != 0);
  if (request->id == 0 && request->state != State::kAnswered) {
    Violate(*request, "Infer says it was answered, and it was not");
  }
  if (request->id != 0 && request->impatient) CancelLater(request);
}

void Clients::DrawUrgency(Request* request) {
  Random& random = world_->random();
  if (request->must_be_ok) return;
  const bool near = random.OneIn(request->hasty ? 2 : 4);
  request->priority = static_cast<uint32_t>(random.Below(4));
  request->impatient = random.OneIn(25);
  if (request->hasty) {
    const bool urgent = random.OneIn(8);
    request->priority = urgent ? 1 : 3;
    request->impatient = !urgent && !near;
    if (urgent) return;
  }
  if (!near) return;
  const int64_t most_ns = request->hasty || random.OneIn(3) ? 5'000'000 : 50'000'000;
  request->deadline_ns = request->asked_ns + random.Between(100'000, most_ns);
}

void Clients::CancelLater(Request* request) {
  world_->scheduler().In(world_->random().Between(0, 3 * kNanosPerMilli), [this, request] {
    SimLane* lane = world_->FindLane(request->lane);
    if (lane == nullptr) return;
    lane->Call([request](IngressLane& ingress) {
      if (request->state != State::kAsked) return;
      request->cancelled = true;
      ingress.Cancel(request->id);
    });
  });
}

void Clients::OnLaneGone(uint32_t incarnation, bool orderly) {
  for (Request& request : requests_) {
    if (request.lane != incarnation) continue;
    if (request.state == State::kComing) {
      // Its connection was not taken: the client connects again.
      if (SimLane* lane = ChooseLane()) {
        Send(&request, lane);
      } else {
        request.state = State::kReset;
        ++reset_;
      }
    } else if (request.state == State::kAsked) {
      request.state = State::kReset;
      --outstanding_;
      ++reset_;
      if (request.must_be_ok) --must_be_ok_left_;
      if (orderly) Violate(request, "its ingress was drained and stopped without answering it");
    }
  }
}

void Clients::FillWindows(SimLane* lane, size_t kind, size_t count) {
  ++fills_left_;
  lane->Call([this, lane, kind, count](IngressLane& ingress) {
    --fills_left_;
    for (size_t i = 0; i < count; ++i) {
      Request* request = NewRequest();
      request->kind = static_cast<uint8_t>(kind);
      request->rows = 1;
      request->must_be_ok = true;
      request->lane = lane->incarnation();
      ++must_be_ok_left_;
      Ask(request, lane);
    }
    ingress.Poll();  // nobody has run since: what waits here waits for units
    const uint64_t waiting = lane->lane().page().Get(Counter::kQueueDepth);
    if (waiting == 0) return;
    world_->history().Violate(absl::StrCat("windows: of ", count, " requests of kind ", kind,
                                           " in lane ", lane->incarnation(), " ", waiting,
                                           " wait, though all units should be there"));
  });
}

void Clients::OnDone(Request* request, const InferAnswer& answer) {
  world_->history().Note("answered", request->number, static_cast<uint64_t>(answer.status.code()));
  if (request->state != State::kAsked) {
    return Violate(*request, request->state == State::kAnswered
                                 ? "it is answered twice"
                                 : "it is answered, and nobody asks any more");
  }
  request->state = State::kAnswered;
  --outstanding_;
  CheckTime(*request);
  if (answer.status.ok()) {
    ++ok_;
    CheckOk(*request, answer);
  } else {
    refused_ += request->id == 0;
    CheckError(*request, answer.status);
  }
  if (request->must_be_ok) --must_be_ok_left_;
  // A client that reads slowly stops the lane's thread.
  if (world_->faults_are_on() && request->id != 0 && world_->random().OneIn(300)) {
    Fiber::Suspend(world_->random().Between(10'000, 5 * kNanosPerMilli));
  }
}

void Clients::CheckRun(uint32_t lane, RequestId id) {
  const auto found = by_id_.find({lane, id});
  if (found == by_id_.end() || world_->FindLane(lane) == nullptr) return;  // its ingress has ended
  const Request& request = *found->second;
  if (request.state != State::kAsked) Violate(request, "it is executed, and was answered before");
  if (VirtualTime::now_ns() > request.deadline_ns) Violate(request, "it is executed too late");
}

void Clients::CountDeath(uint32_t lane, RequestId id, bool by_signal) {
  const auto found = by_id_.find({lane, id});
  if (found == by_id_.end()) return;
  ++found->second->deaths;
  found->second->deaths_by_signal += by_signal;
}

// A turn that began a sweep after the deadline would have answered it.
void Clients::CheckTime(const Request& request) {
  const SimLane* lane = world_->FindLane(request.lane);
  if (lane == nullptr || lane->turn_before_ns() <= request.deadline_ns + 2 * kNanosPerMilli) return;
  Violate(request,
          absl::StrCat("it is answered ", (VirtualTime::now_ns() - request.deadline_ns) / 1000,
                       " us after its deadline, and its lane had a turn meanwhile"));
}

double Clients::RightAnswer(const Request& request, size_t row) const {
  const double viewed = AnswerOf(Catalogs::ViewedSalt(request.generation), request.Input(row));
  const double plain = AnswerOf(Catalogs::PlainSalt(request.generation), request.Input(row));
  const std::string_view model = kKindTable[request.kind].model;
  if (model == kEnsemble) return (viewed + plain) / 2;
  return model == kViewModel ? viewed : plain;
}

void Clients::CheckOk(const Request& request, const InferAnswer& answer) {
  const Kind& kind = kKindTable[request.kind];
  if (request.poison) return Violate(request, "poison has a result");
  if (answer.model != kind.model || answer.version != std::to_string(request.generation)) {
    return Violate(request, absl::StrCat("another version answers: ", std::string(answer.version)));
  }
  const size_t wanted = (kind.prediction ? 1 : 0) + (kind.label ? 1 : 0);
  if (answer.outputs.size() != wanted) return Violate(request, "other outputs than asked for");
  for (size_t o = 0; o < wanted; ++o) {
    const TensorView& output = answer.outputs[o];
    const bool is_class = output.name == "class";
    const DataType type = is_class                                    ? DataType::kInt64
                          : std::string_view(kind.model) == kEnsemble ? DataType::kFp64
                                                                      : DataType::kFp32;
    if (output.datatype != type || output.raw.size() != request.rows * DataTypeSize(type)) {
      return Violate(request, "an output of another type or size");
    }
    for (size_t row = 0; row < request.rows; ++row) {
      const double right = RightAnswer(request, row);
      double got = 0;
      const char* at = output.raw.data() + row * DataTypeSize(type);
      if (type == DataType::kFp64) memcpy(&got, at, sizeof got);
      float single = 0;
      if (type == DataType::kFp32) memcpy(&single, at, sizeof single), got = single;
      int64_t whole = 0;
      if (is_class) memcpy(&whole, at, sizeof whole), got = static_cast<double>(whole);
      if (got != (is_class ? static_cast<double>(right >= 0.5) : right)) {
        return Violate(request, absl::StrCat("row ", row, " is ", got, ", right is ", right));
      }
    }
  }
}

namespace {

// What ingress says to a request that it gives up under overload or when too much is replayed.
bool WasShed(const absl::Status& status) {
  for (const char* words :
       {"gave way to a request of a higher priority", "shed: requests wait too long for a worker",
        "its worker ended; too many are sent again already"}) {
    if (status.message() == words) return true;
  }
  return false;
}

}  // namespace

void Clients::CheckError(const Request& request, const absl::Status& status) {
  if (request.must_be_ok) return Violate(request, "after the faults: " + status.ToString());
  const bool at_once = request.id == 0;
  const uint64_t newest = world_->supervisor().fleet().catalog().generation();
  bool documented = false;
  switch (status.code()) {
    case absl::StatusCode::kCancelled:
      documented = request.cancelled;
      break;
    case absl::StatusCode::kDeadlineExceeded:
      documented = at_once || VirtualTime::now_ns() > request.deadline_ns;
      break;
    case absl::StatusCode::kUnavailable:
      // A full ledger; or shed; or a worker that knows only newer catalogs than the request's, of
      // which the first failed.
      documented = at_once || WasShed(status) ||
                   (world_->a_catalog_failed() && newest != request.generation);
      break;
    case absl::StatusCode::kInternal:
      // Poison, or what looks like it: one died with it in its hands, and another that had nothing
      // else; of two by a kill from outside one may be chance.
      documented = request.poison || request.deaths > 2 ||
                   (request.deaths == 2 && request.deaths_by_signal > 0);
      break;
    default:
      break;
  }
  if (!documented) Violate(request, "an answer without a reason: " + status.ToString());
}

void Clients::Violate(const Request& request, const std::string& why) {
  world_->history().Violate(absl::StrCat("request ", request.number, " of kind ", request.kind,
                                         " in lane ", request.lane, ", asked at ",
                                         request.asked_ns / 1000, " us: ", why));
}

}  // namespace millrace::sim
