#include "services/simulation/sim_lane.h"

#include <sys/eventfd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "ipc/testing/must.h"
#include "ipc/window.h"
#include "services/simulation/doorbells.h"
#include "services/simulation/sim_process.h"
#include "services/simulation/virtual_time.h"
#include "services/simulation/world.h"

namespace millrace::sim {
namespace {

constexpr int64_t kQuietNs = 100 * kNanosPerMilli;  // as WorkerProcess
constexpr size_t kCallsATurn = 16;
// The classes of the product's shape that requests of a few rows use; the rest would only be
// zeroed.
constexpr size_t kLargestBlock = 1024;

// For as many ingress lanes as there can be here, so that one block too many is found missing.
ArenaShape ShapeFor(Stage stage, const Config& config, size_t ingress_lanes) {
  ArenaShape shape = stage == Stage::kIngress
                         ? IngressArenaShape(config)
                         : ArenaShape::For(2 * ingress_lanes, kWindowUnits,
                                           WorkerWindowBytes(config), MaxBlockBytes(config));
  std::erase_if(shape.classes, [](const auto& c) { return c.block_bytes > kLargestBlock; });
  return shape;
}

}  // namespace

void WindowWatch::OnMessage(Inbound& from, const Message& message) {
  if (from.peer->id.stage == Stage::kIngress && from.held > kWindowUnits) {
    world_->history().Violate(absl::StrCat("lane ", from.peer->id.incarnation, " has ", from.held,
                                           " messages at a worker that grants it 64"));
  }
  worker_->OnMessage(from, message);
}

SimLane::SimLane(World* world, SimProcess* process, const LaneId& id, int roster_fd)
    : world_(world), process_(process), fiber_([this] { Turn(); }) {
  Fd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  Doorbells::Register(wake.get(), id.incarnation);
  Lane::Memory memory = {Must(Region::Create(kPageType, id.incarnation, sizeof(Page))),
                         Must(Arena::Create(id.incarnation, ShapeFor(id.stage, world->config(),
                                                                     world->ingress_lanes()))),
                         std::move(wake), Must(RosterReader::Open(roster_fd))};
  // relaxed: one thread reads and writes all pages of a world.
  memory.page.as<Page>()->start_ns.store(VirtualTime::now_ns(), std::memory_order_relaxed);
  LaneReports reports;
  reports.link_up = [this](uint32_t producer, uint32_t consumer) {
    FromProcess message;
    message.mutable_link_up()->set_producer(producer);
    message.mutable_link_up()->set_consumer(consumer);
    process_->Tell(std::move(message));
  };
  reports.fault = [this](uint32_t peer, const std::string& reason) {
    world_->OnFault(*this, peer, reason);
    FromProcess message;
    message.mutable_fault()->set_incarnation(peer);
    message.mutable_fault()->set_reason(reason);
    process_->Tell(std::move(message));
  };
  lane_ = std::make_unique<Lane>(id, std::move(memory), std::move(reports));
  Doorbells::Register(lane_->wake_fd(), id.incarnation);
  if (id.stage != Stage::kIngress) return;
  ledger_ =
      std::make_unique<Ledger>(Must(Ledger::Create(id.incarnation, world->config().max_in_flight)));
  ingress_ = std::make_unique<IngressLane>(lane_.get(), ledger_.get(), world->config());
}

SimLane::~SimLane() { fiber_.Kill(); }

Worker& SimLane::MakeWorker() {
  worker_ = std::make_unique<Worker>(lane_.get());
  watch_ = std::make_unique<WindowWatch>(world_, worker_.get());
  lane_->set_handler(watch_.get());
  return *worker_;
}

void SimLane::Begin(WorkerStage* stage) {
  stage_ = stage;
  last_work_ns_ = VirtualTime::now_ns();
  StepAt(VirtualTime::now_ns() + world_->random().Between(1'000, 50'000));
}

void SimLane::Call(std::function<void(IngressLane&)> call) {
  calls_.push_back(std::move(call));
  Rung();
}

void SimLane::Drain(std::function<void()> drained) {
  lane_->Post([this, drained = std::move(drained)] { drained_ = drained; });
}

void SimLane::Rung() {
  if (rung_) return;
  rung_ = true;
  if (asleep_) StepAt(VirtualTime::now_ns() + world_->random().Between(2'000, 40'000));
}

void SimLane::StepAt(int64_t when_ns) {
  const uint64_t token = ++token_;
  world_->scheduler().At(when_ns, [world = world_, self = incarnation(), token] {
    SimLane* lane = world->FindLane(self);
    if (lane != nullptr && lane->token_ == token) lane->Step();
  });
}

void SimLane::Step() {
  const int64_t now_ns = VirtualTime::now_ns();
  if (process_->paused_until_ns() > now_ns) {
    return StepAt(process_->paused_until_ns() + world_->random().Between(0, 20'000));
  }
  if (asleep_) {
    if (!rung_ && HasWork()) world_->CountRescue();
    lane_->Unpark();
    asleep_ = rung_ = false;
  }
  if (!fiber_.suspended()) turn_before_ns_ = std::exchange(turn_ns_, now_ns);
  world_->set_running(this);
  const bool ended = fiber_.Resume();
  if (!ended) return StepAt(now_ns + fiber_.pause_ns());
  world_->history().Note("turn", incarnation(), done_);
  Rest();
}

void SimLane::Rest() {
  if (done_ > 0) idle_turns_ = 0;
  // What a spin or a yield does: a few more looks.
  if (done_ == 0 && ++idle_turns_ > 1) {
    lane_->Arm();
    if (!HasWork()) {
      asleep_ = true;
      rung_ = false;
      const int64_t most_ns =
          ingress_ != nullptr ? ingress_->MaxSleepNs() : Waiter::kMaxSleepMs * kNanosPerMilli;
      return StepAt(VirtualTime::now_ns() + most_ns);
    }
    lane_->Unpark();
  }
  StepAt(VirtualTime::now_ns() + TurnNs());
}

int64_t SimLane::TurnNs() {
  int64_t ns = world_->random().Between(500, 2'000) + 200 * static_cast<int64_t>(done_);
  if (done_ == 0) ns += 10'000;
  if (world_->random().OneIn(500)) ns += world_->random().Between(0, 3 * kNanosPerMilli);
  return ns * slowness_;
}

bool SimLane::HasWork() {
  return worker_ != nullptr ? worker_->HasWork() : lane_->HasWork() || !calls_.empty();
}

void SimLane::Turn() {
  if (ingress_ != nullptr) {
    TurnIngress();
  } else {
    TurnWorker();
  }
}

void SimLane::TurnWorker() {
  const size_t taken = worker_->Poll();
  const size_t worked = stage_->Work(*worker_);
  lane_->Flush();
  done_ = taken + worked;
  if (done_ > 0) last_work_ns_ = VirtualTime::now_ns();
  if (drained_ == nullptr || !worker_->Idle() || !stage_->Idle()) return;
  if (VirtualTime::now_ns() - last_work_ns_ < kQuietNs) return;
  std::exchange(drained_, nullptr)();
}

void SimLane::TurnIngress() {
  done_ = ingress_->Poll();
  for (size_t i = 0; i < kCallsATurn && !calls_.empty(); ++i, ++done_) {
    const std::function<void(IngressLane&)> call = std::move(calls_.front());
    calls_.pop_front();
    call(*ingress_);
  }
  lane_->Flush();
  if (drained_ == nullptr || ingress_->in_flight() > 0 || !calls_.empty()) return;
  std::exchange(drained_, nullptr)();
}

bool SimLane::Quiet() {
  const Page& page = lane_->page();
  if (lane_->arena().taken() != 0) return false;
  if (ingress_ != nullptr) {
    return ingress_->in_flight() == 0 && page.Get(Counter::kLimbo) == 0 && calls_.empty();
  }
  return worker_ == nullptr || (worker_->Idle() && stage_->Idle());
}

}  // namespace millrace::sim
