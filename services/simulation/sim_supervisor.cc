#include "services/simulation/sim_supervisor.h"

#include <signal.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <string>
#include <utility>

#include "common/check.h"
#include "ipc/testing/must.h"
#include "services/simulation/doorbells.h"
#include "services/simulation/virtual_time.h"
#include "services/simulation/world.h"
#include "services/supervisor/stage_table.h"

namespace millrace::sim {
namespace {

constexpr uint32_t kRoutesACatalog = 3;

// The end of a supervisor in the middle of what it does. Only ever caught by RunEvents: what stands
// on the stack between is unwound, and its fleet is not asked again.
struct Killed {};

}  // namespace

SimSupervisor::SimSupervisor(World* world)
    : world_(world), incarnations_(Must(Incarnations::Open(Fd()))) {
  roster_.emplace(Must(RosterWriter::Create(0)));
  fleet_ = std::make_unique<Fleet>(this, SetUp());
}

FleetSetup SimSupervisor::SetUp() const {
  FleetSetup setup;
  setup.config = world_->config();
  setup.config_yaml = "{}";
  setup.roster = std::make_shared<const Fd>(fcntl(roster_->fd(), F_DUPFD_CLOEXEC, 0));
  for (uint32_t lane = 0; lane < world_->ingress_lanes(); ++lane) {
    setup.listeners.emplace_back(lane, setup.roster);  // never listened on
  }
  setup.cpus = {0, 1, 2, 3};
  setup.cores = 4;
  return setup;
}

void SimSupervisor::Act() {
  if (calls_to_death_ > 0 && --calls_to_death_ == 0) throw Killed();
}

void SimSupervisor::Die() {
  world_->history().Note("supervisor dies");
  dead_ = true;
  paused_until_ns_ =
      VirtualTime::now_ns() + world_->random().Between(kNanosPerMilli, 120 * kNanosPerMilli);
  world_->scheduler().At(paused_until_ns_, [this] { RunEvents(); });
}

// What supervisor.cc and the keeper do between them.
void SimSupervisor::Succeed() {
  dead_ = false;
  ++adoptions_;
  world_->history().Note("supervisor adopts", adoptions_);
  incarnations_ = Must(Incarnations::Open(Fd(fcntl(incarnations_->fd(), F_DUPFD_CLOEXEC, 0))));
  const uint64_t generation = roster_->generation();
  roster_.emplace(Must(RosterWriter::Create(generation + 1)));
  pages_.clear();
  fleet_ = std::make_unique<Fleet>(this, SetUp());
  FleetState left;
  const std::vector<RosterEntry> before = last_roster_;
  if (state.empty() || !left.ParseFromString(state)) {
    fleet_->Start();
  } else {
    fleet_->Adopt(left);
  }
  last_roster_ = before;
  CheckAdopted();
  last_roster_ = fleet_roster_;
  // Those that it does not name are the keeper's to kill.
  std::vector<uint32_t> strangers;
  for (const auto& [key, process] : world_->processes()) {
    if (!Knows(key)) strangers.push_back(key);
  }
  for (uint32_t key : strangers) world_->Kill(key, SIGKILL);
  if (!Knows(registry_)) registry_ = 0;
}

// Its roster was told to everybody: who lives and was called ready there must still be so.
void SimSupervisor::CheckAdopted() const {
  for (const RosterEntry& entry : last_roster_) {
    const SimLane* lane = world_->FindLane(entry.incarnation);
    if (entry.state != RosterState::kReady || lane == nullptr) continue;
    const SimProcess& process = lane->process();
    if (process.dying()) continue;
    const auto found = fleet_->processes().find(process.key());
    if (found != fleet_->processes().end() && RowOf(found->second.state).links) continue;
    world_->history().Violate("lane " + std::to_string(entry.incarnation) +
                              " was ready, lives, and is not adopted");
  }
}

void SimSupervisor::Start() {
  fleet_->Start();
  TickLater();
}

void SimSupervisor::TickLater() {
  Do(VirtualTime::now_ns() + Fleet::kTickNs, [this](Fleet& fleet) {
    TickLater();  // first: it may die in this one
    fleet.Tick();
  });
}

void SimSupervisor::Do(int64_t when_ns, std::function<void(Fleet&)> event) {
  world_->scheduler().At(when_ns, [this, event = std::move(event)]() mutable {
    events_.push_back(std::move(event));
    RunEvents();
  });
}

// The fleet may ask for more while it works on one: those come behind.
void SimSupervisor::RunEvents() {
  if (running_events_) return;
  if (paused_until_ns_ > VirtualTime::now_ns()) {
    world_->scheduler().At(paused_until_ns_, [this] { RunEvents(); });
    return;
  }
  running_events_ = true;
  try {
    if (dead_) Succeed();
    while (!events_.empty()) {
      const std::function<void(Fleet&)> event = std::move(events_.front());
      events_.pop_front();
      event(*fleet_);
    }
  } catch (const Killed&) {
    Die();
  }
  running_events_ = false;
}

void SimSupervisor::Hear(uint32_t key, int64_t when_ns, FromProcess message, std::vector<Fd> fds) {
  auto shared = std::make_shared<std::vector<Fd>>(std::move(fds));
  Do(when_ns, [this, key, message = std::move(message), shared](Fleet& fleet) {
    world_->history().Note("heard", key, static_cast<uint64_t>(message.message_case()));
    fleet.OnMessage(key, message, std::move(*shared));
  });
}

void SimSupervisor::Ended(uint32_t key, int64_t seen_ns, int64_t reaped_ns, int signal) {
  // A supervisor knows of no process that it did not start or adopt.
  if (signal != 0) {
    Do(seen_ns, [this, key, seen_ns](Fleet& fleet) {
      if (Knows(key)) fleet.OnDeath(key, seen_ns);
    });
  }
  Do(reaped_ns, [this, key, signal](Fleet& fleet) {
    if (Knows(key)) fleet.OnEnd(key, {0, signal});
  });
}

void SimSupervisor::KillRegistry() {
  if (registry_ == 0) return;
  const uint32_t key = std::exchange(registry_, 0);
  const int64_t now_ns = VirtualTime::now_ns();
  Do(now_ns + 2 * kNanosPerMilli, [this, key](Fleet& fleet) {
    if (Knows(key)) fleet.OnEnd(key, {0, SIGKILL});
  });
}

bool SimSupervisor::AllReady() const {
  if (dead_) return false;
  if (!fleet_->Ready() || fleet_->live_generation() != fleet_->catalog().generation()) return false;
  for (const auto& [name, slot] : fleet_->slots()) {
    const auto found = fleet_->processes().find(slot.key);
    if (found == fleet_->processes().end()) return false;
    const FleetProcess& process = found->second;
    if (process.state != ProcessState::kReady) return false;
    if (name.first == Stage::kIngress && process.told_live != fleet_->live_generation()) {
      return false;
    }
  }
  return fleet_->processes().size() == fleet_->slots().size();  // those that leave have left
}

int64_t SimSupervisor::NowNs() { return VirtualTime::now_ns(); }
double SimSupervisor::Random() { return world_->random().Share(); }
uint32_t SimSupervisor::NewIncarnation() {
  const uint32_t given = incarnations_->Next();
  if (!given_.insert(given).second) {
    world_->history().Violate("incarnation " + std::to_string(given) + " is given out twice");
  }
  return given;
}

absl::Status SimSupervisor::Spawn(uint32_t key, Stage stage, uint32_t index, const CpuList&) {
  Act();
  world_->history().Note("spawn", key, static_cast<uint64_t>(stage), index);
  if (failing_spawns_ > 0 && stage != Stage::kRegistry) {
    --failing_spawns_;
    return absl::ResourceExhaustedError("fork: no more processes");
  }
  if (stage == Stage::kRegistry) {
    registry_ = key;
  } else {
    world_->Spawn(key, stage, index);
  }
  Act();  // one that was started, and nobody knows it
  stored_.insert(key);
  return absl::OkStatus();
}

absl::Status SimSupervisor::Send(uint32_t key, const ToProcess& message, const FdList& fds) {
  Act();
  if (key == registry_) {
    ToRegistry(message);
    return absl::OkStatus();
  }
  SimProcess* process = world_->Find(key);
  if (process == nullptr) return absl::UnavailableError("it is gone");
  process->Deliver(message, fds);
  return absl::OkStatus();
}

void SimSupervisor::ToRegistry(const ToProcess& message) {
  const uint32_t key = registry_;
  if (message.has_stop()) {
    registry_ = 0;
    return Ended(key, 0, VirtualTime::now_ns() + kNanosPerMilli, 0);
  }
  if (message.has_configure()) {
    next_generation_ = message.configure().first_generation();
    next_route_ = message.configure().first_route();
  } else if (message.has_adopted()) {
    return PublishAgain();
  } else if (!message.has_reload()) {
    return;
  }
  const int64_t compile_ns = world_->random().Between(kNanosPerMilli, 8 * kNanosPerMilli);
  world_->scheduler().In(compile_ns, [this, key] {
    if (key == registry_) PublishCatalog();
  });
}

void SimSupervisor::PublishCatalog() {
  const Catalogs::Published& published = world_->catalogs().Make(next_generation_, next_route_);
  world_->history().Note("publish", next_generation_, next_route_);
  ++next_generation_;
  next_route_ += kRoutesACatalog;
  Say(published);
}

// What may have been lost with the supervisor that it was said to.
void SimSupervisor::PublishAgain() {
  const Catalogs::Published* last = world_->catalogs().Find(next_generation_ - 1);
  if (last != nullptr) Say(*last);
}

void SimSupervisor::Say(const Catalogs::Published& published) {
  FromProcess message;
  message.mutable_publish_catalog()->set_generation(published.catalog->generation());
  for (uint32_t route : published.plan_routes) {
    message.mutable_publish_catalog()->add_plan_routes(route);
  }
  std::vector<Fd> fds;
  for (const SharedFd& fd : published.fds) fds.push_back(fd->Duplicate());
  Hear(registry_, VirtualTime::now_ns() + 20'000, std::move(message), std::move(fds));
}

void SimSupervisor::Signal(uint32_t key, int signal) {
  Act();
  world_->history().Note("signal", key, static_cast<uint64_t>(signal));
  if (key == registry_) return KillRegistry();
  if (signal == SIGKILL) {
    world_->Kill(key, SIGKILL);
  } else {
    world_->DieBySignal(key, signal);
  }
}

bool SimSupervisor::IsStopped(uint32_t key) {
  const SimProcess* process = world_->Find(key);
  return process != nullptr && process->paused_until_ns() > VirtualTime::now_ns();
}

absl::Status SimSupervisor::OpenPages(uint32_t key, const std::vector<LanePage>& pages) {
  for (const LanePage& page : pages) {
    pages_[page.incarnation] = {
        key, Must(Region::Open(page.fd->get(), kPageType, page.incarnation, sizeof(Page)))};
  }
  return absl::OkStatus();
}

std::optional<PageLook> SimSupervisor::Look(uint32_t incarnation) {
  const auto found = pages_.find(incarnation);
  if (found == pages_.end()) return std::nullopt;
  const Page& page = *found->second.second.as<const Page>();
  PageLook look;
  // relaxed: one thread reads and writes all pages of a world.
  look.beat = page.beat.load(std::memory_order_relaxed);
  // relaxed: as above.
  look.predicted_ns = page.predicted_ns.load(std::memory_order_relaxed);
  look.answered = page.Get(Counter::kAnswered) > 0;
  look.oldest_catalog = page.Get(Counter::kOldestCatalog);
  return look;
}

void SimSupervisor::Forget(uint32_t key) {
  stored_.erase(key);
  std::erase_if(pages_, [key](const auto& page) { return page.second.first == key; });
}

void SimSupervisor::PublishRoster(absl::Span<const RosterEntry> lanes, const FdList& wakes) {
  Act();
  roster_->Publish(lanes);
  last_roster_.assign(lanes.begin(), lanes.end());
  fleet_roster_ = last_roster_;
  world_->history().Note("roster", roster_->generation(), lanes.size());
  for (const SharedFd& wake : wakes) {
    MR_CHECK(wake != nullptr, "who stands in the roster can be woken");
    eventfd_write(wake->get(), 1);
  }
}

void SimSupervisor::Store(const std::vector<std::pair<std::string, SharedFd>>& fds) {
  Act();
  FakeHands::Store(fds);
}

void SimSupervisor::StoreState(const std::string& bytes) {
  Act();
  state = bytes;
}

void SimSupervisor::DropStored(const std::string& prefix) {
  Act();
  FakeHands::DropStored(prefix);
}

absl::Status SimSupervisor::Adopt(uint32_t key) {
  if (stored_.count(key) == 0) return absl::NotFoundError("its descriptors are not stored");
  const bool lives = key == registry_ || world_->Find(key) != nullptr;
  // Its end may have been seen by the one that died, or not: the pidfd says it again.
  if (!lives) {
    Do(VirtualTime::now_ns() + 50'000, [this, key](Fleet& fleet) {
      if (Knows(key)) fleet.OnEnd(key, {-1, 0});
    });
  }
  return absl::OkStatus();
}

}  // namespace millrace::sim
