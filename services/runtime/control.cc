#include "services/runtime/control.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "ipc/window.h"
#include "services/runtime/liveness.h"
#include "services/runtime/log_ring.h"
#include "services/runtime/profiler.h"

namespace millrace {
namespace {

constexpr size_t kMaxCatalogBytes = 64 << 20;
constexpr int kSendPatienceMs = 1000;

}  // namespace

LaneId Control::ToLaneId(const LaneName& name) {
  const bool known = name.stage() < kStageCount;
  return {name.incarnation(), known ? static_cast<Stage>(name.stage()) : Stage::kNone,
          static_cast<uint8_t>(name.index()), static_cast<uint8_t>(name.lane())};
}

Control::Control(Fd socket, Stage stage, StageProcess* process)
    : channel_(std::move(socket)), stage_(stage), process_(process) {}

int Control::Run() {
  for (bool stepped = false;;) {
    pollfd fds[2] = {{channel_.fd(), POLLIN, 0}, {outbox_.wake_fd(), POLLIN, 0}};
    const int events = poll(fds, 2, pages_.WaitMs(stepped));
    if (events < 0) continue;
    if ((stepped = events == 0)) {
      pages_.Step();
      continue;
    }
    for (const Outbox::Item& item : outbox_.Take()) {
      Remember(item.message);
      const int fd = item.fd.get();
      if (!SendNow(item.message, absl::MakeSpan(&fd, item.fd.valid() ? 1 : 0))) return kExitOrphan;
    }
    while (true) {
      ToProcess message;
      std::vector<Fd> received;
      absl::StatusOr<bool> got = channel_.Receive(&message, &received);
      if (!got.ok()) {
        Log(LogLevel::kError, "supervisor_lost", {{"why", got.status().ToString()}});
        return absl::IsUnavailable(got.status()) ? kExitOrphan : kExitProtocol;
      }
      if (!*got) break;
      if (std::optional<int> code = Handle(message, std::move(received))) {
        if (configured_) process_->OnStop();
        return *code;
      }
    }
  }
}

bool Control::SendNow(const FromProcess& message, absl::Span<const int> fds) {
  while (true) {
    const absl::Status sent = channel_.Send(message, fds);
    if (sent.ok()) return true;
    if (!absl::IsResourceExhausted(sent)) return false;
    pollfd p = {channel_.fd(), POLLOUT, 0};
    if (poll(&p, 1, kSendPatienceMs) <= 0) Log(LogLevel::kWarning, "supervisor_slow");
  }
}

std::optional<int> Control::Handle(ToProcess& message, std::vector<Fd> fds) {
  if (!configured_ && message.message_case() != ToProcess::kConfigure) return kExitProtocol;
  switch (message.message_case()) {
    case ToProcess::kConfigure:
      return OnConfigure(message.configure(), std::move(fds));
    case ToProcess::kPeer:
      return OnPeer(message.peer(), std::move(fds));
    case ToProcess::kPeerHalf:
      OnPeerHalf(message.peer_half(), std::move(fds));
      return std::nullopt;
    case ToProcess::kPeerGone:
      OnPeerGone(message.peer_gone().incarnation());
      return std::nullopt;
    case ToProcess::kCatalog:
      OnCatalog(message.catalog(), std::move(fds));
      return std::nullopt;
    case ToProcess::kCatalogLive:
      process_->OnCatalogLive(message.catalog_live().generation());
      return std::nullopt;
    case ToProcess::kRoutes:
      OnRoutes(message.routes(), std::move(fds));
      return std::nullopt;
    case ToProcess::kRoutesChanged:
      routes_asked_.erase(message.routes_changed().request());
      process_->OnRoutesChanged(message.routes_changed());
      return std::nullopt;
    case ToProcess::kAdopted:
      return OnAdopted(std::move(fds));
    case ToProcess::kModelChanged:
      changes_.erase(message.model_changed().request());
      process_->OnModelChanged(message.model_changed());
      return std::nullopt;
    case ToProcess::kStageBreaker:
      process_->OnStageBreaker(message.stage_breaker());
      return std::nullopt;
    case ToProcess::kOpen:
      process_->OnOpen();
      return std::nullopt;
    case ToProcess::kTakeProfile:
      OnTakeProfile(message.take_profile());
      return std::nullopt;
    case ToProcess::kDrain:
      OnDrain(message.drain());
      return std::nullopt;
    case ToProcess::kStop:
      return kExitOk;
    default:
      return std::nullopt;  // a later version's message that this build can do without
  }
}

void Control::OnDrain(const Drain& drain) {
  const auto drained = [this] {
    FromProcess message;
    message.mutable_drained();
    outbox_.Send(std::move(message));
  };
  drain.others_serve() ? process_->OnMove(drained) : process_->OnDrain(drained);
}

void Control::OnTakeProfile(const TakeProfile& take) {
  const auto tell = [this, request = take.request()](absl::StatusOr<Fd> profile) {
    FromProcess message;
    ProfileTaken* taken = message.mutable_profile_taken();
    taken->set_request(request);
    taken->set_code(static_cast<int32_t>(profile.status().code()));
    taken->set_message(std::string(profile.status().message()));
    outbox_.Send(std::move(message), profile.ok() ? std::move(*profile) : Fd());
  };
  const absl::Status begun = take.kind() == TakeProfile::HEAP
                                 ? Profiler::BeginHeap(tell)
                                 : Profiler::Begin(take.duration_ms(), tell);
  if (!begun.ok()) tell(begun);
}

std::optional<int> Control::OnConfigure(const Configure& configure, std::vector<Fd> fds) {
  if (configured_ || configure.lanes_size() == 0 || fds.size() != 1u + configure.listeners_size()) {
    return kExitProtocol;
  }
  ConfigResult parsed = ParseConfig(configure.config_yaml());
  if (!parsed.faults.empty()) return kExitProtocol;
  SetLogProcess(absl::StrCat(std::string(StageName(stage_)), configure.lanes(0).index()));
  LogRing::Say(&channel_);  // before what may fail
  for (const LaneName& name : configure.lanes()) {
    if (ToLaneId(name).stage != stage_) return kExitProtocol;
    if (absl::Status made = MakeLane(name, parsed.config, fds[0]); !made.ok()) {
      Log(LogLevel::kError, "lane_failed", {{"why", made.ToString()}});
      return kExitMemory;
    }
  }
  HoldLiveness(&lanes_[0].lane->page());
  StageProcess::Start start;
  start.without_device = configure.without_device();
  start.hold = configure.hold();
  start.tell = [this](FromProcess message) { outbox_.Send(std::move(message)); };
  start.config = parsed.config;
  for (OwnLane& own : lanes_) {
    start.lanes.push_back(own.lane.get());
    if (own.ledger != nullptr) start.ledgers.push_back(own.ledger.get());
  }
  for (int i = 0; i < configure.listeners_size(); ++i) {
    start.listeners[configure.listeners(i)] = std::move(fds[1 + i]);
  }
  if (absl::Status started = process_->OnStart(std::move(start)); !started.ok()) {
    Log(LogLevel::kError, "start_failed", {{"why", started.ToString()}});
    return absl::IsFailedPrecondition(started) ? kExitDevice : kExitMemory;
  }
  configured_ = true;
  const absl::Status announced = Announce();
  if (!announced.ok()) return kExitOrphan;
  if (IsTraced(parsed.config)) {
    for (OwnLane& own : lanes_) traces_.Make(own.lane.get(), alive_, &pages_);
    if (!SendNow(traces_.Message(), traces_.fds())) return kExitOrphan;
  }
  return std::nullopt;
}

absl::Status Control::MakeLane(const LaneName& name, const Config& config, const Fd& roster) {
  const LaneId id = ToLaneId(name);
  absl::StatusOr<Region> page = Region::Create(kPageType, id.incarnation, sizeof(Page));
  if (!page.ok()) return page.status();
  absl::StatusOr<Arena> arena = Arena::Create(
      id.incarnation,
      stage_ == Stage::kIngress ? IngressArenaShape(config) : WorkerArenaShape(config),
      {.entering = Entering::kLater, .huge = config.huge_pages != "off"});
  if (!arena.ok()) return arena.status();
  if (config.huge_pages != "off" && !arena->region().huge()) {
    Log(LogLevel::kWarning, "no_huge_pages",
        {{"lane", name.lane()}, {"bytes", arena->region().size()}});
  }
  absl::StatusOr<RosterReader> reader = RosterReader::Open(roster.get());
  if (!reader.ok()) return reader.status();
  Fd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return absl::ResourceExhaustedError("no descriptor left");
  OwnLane own;
  if (stage_ == Stage::kIngress) {
    absl::StatusOr<Ledger> ledger = Ledger::Create(id.incarnation, config.max_in_flight);
    if (!ledger.ok()) return ledger.status();
    own.ledger = std::make_unique<Ledger>(std::move(*ledger));
  }
  auto* p = page->as<Page>();
  // relaxed: read by the supervisor after the announcement.
  p->pid.store(getpid(), std::memory_order_relaxed);
  p->start_ns.store(MonotonicNanos(), std::memory_order_relaxed);  // relaxed: as above
  LaneReports reports;
  reports.link_up = [this](uint32_t producer, uint32_t consumer) {
    FromProcess message;
    message.mutable_link_up()->set_producer(producer);
    message.mutable_link_up()->set_consumer(consumer);
    outbox_.Send(std::move(message));
  };
  reports.fault = [this](uint32_t incarnation, const std::string& reason) {
    Report(incarnation, absl::FailedPreconditionError(reason));
  };
  own.lane = std::make_unique<Lane>(
      id, Lane::Memory{std::move(*page), std::move(*arena), std::move(wake), std::move(*reader)},
      std::move(reports));
  pages_.Add(alive_, &own.lane->memory().arena.region());
  lanes_.push_back(std::move(own));
  return absl::OkStatus();
}

absl::Status Control::Announce() {
  FromProcess message;
  std::vector<int> fds;
  for (const OwnLane& own : lanes_) {
    const LaneId& id = own.lane->id();
    LaneName* name = message.mutable_announce()->add_lanes();
    name->set_incarnation(id.incarnation);
    name->set_stage(static_cast<uint32_t>(id.stage));
    name->set_index(id.index);
    name->set_lane(id.lane);
    message.mutable_announce()->add_has_ledger(own.ledger != nullptr);
    const Lane::Memory& memory = own.lane->memory();
    fds.insert(fds.end(),
               {memory.page.fd().get(), memory.arena.region().fd().get(), memory.wake.get()});
    if (own.ledger != nullptr) fds.push_back(own.ledger->region().fd().get());
  }
  if (!SendNow(message, fds)) return absl::UnavailableError("the supervisor is gone");
  return absl::OkStatus();
}

void Control::OnCatalog(const CatalogUpdate& update, std::vector<Fd> fds) {
  const uint64_t generation = update.generation();
  auto ready = [this, generation](absl::Status status) {
    // relaxed: a number that is compared, and nothing is read by it.
    if (status.ok()) catalog_taken_.store(generation, std::memory_order_relaxed);
    FromProcess message;
    message.mutable_catalog_ready()->set_generation(generation);
    if (!status.ok()) message.mutable_catalog_ready()->set_error(std::string(status.message()));
    outbox_.Send(std::move(message));
  };
  if (generation <= catalog_seen_) {
    // Sent again by a supervisor that took over: what is under way is answered when it is done.
    // relaxed: as above.
    if (catalog_taken_.load(std::memory_order_relaxed) < generation) return;
    FromProcess message;
    message.mutable_catalog_ready()->set_generation(generation);
    return outbox_.Send(std::move(message));
  }
  catalog_seen_ = generation;
  if (fds.size() != 1u + update.plan_routes_size()) {
    return ready(absl::InvalidArgumentError("descriptors and routes do not match"));
  }
  auto map = MapImmutable(fds[0].get(), kMaxCatalogBytes);
  if (!map.ok()) return ready(map.status());
  auto catalog = std::make_shared<Catalog>();
  if (!catalog->ParseFromArray(map->get_address(), static_cast<int>(map->get_size()))) {
    return ready(absl::InvalidArgumentError("the catalog cannot be parsed"));
  }
  CatalogWithPlans with_plans;
  with_plans.catalog = std::move(catalog);
  for (int i = 0; i < update.plan_routes_size(); ++i) {
    with_plans.plans.emplace(update.plan_routes(i), std::move(fds[1 + i]));
  }
  process_->OnCatalog(std::move(with_plans), std::move(ready));
}

void Control::OnRoutes(const RoutesUpdate& update, const std::vector<Fd>& fds) {
  auto map = fds.size() == 1 ? MapImmutable(fds[0].get(), kMaxCatalogBytes)
                             : absl::InvalidArgumentError("routes have one descriptor");
  auto routes = std::make_shared<Routes>();
  const bool good =
      map.ok() && routes->ParseFromArray(map->get_address(), static_cast<int>(map->get_size()));
  if (!good) return Log(LogLevel::kError, "routes_refused", {{"why", map.status().ToString()}});
  process_->OnRoutes(std::move(routes), [this, generation = update.generation()] {
    FromProcess message;
    message.mutable_routes_taken()->set_generation(generation);
    outbox_.Send(std::move(message));
  });
}

std::optional<int> Control::OnAdopted(std::vector<Fd> fds) {
  if (fds.size() != 1) return kExitProtocol;
  for (OwnLane& own : lanes_) {
    absl::StatusOr<RosterReader> reader = RosterReader::Open(fds[0].get());
    if (!reader.ok()) {
      Log(LogLevel::kError, "roster_refused", {{"why", reader.status().ToString()}});
      return kExitProtocol;
    }
    auto shared = std::make_shared<RosterReader>(std::move(*reader));
    own.lane->Post([lane = own.lane.get(), shared] { lane->ReadRoster(std::move(*shared)); });
  }
  for (const auto& [incarnation, fault] : faults_) {
    if (!SendNow(fault)) return kExitOrphan;
  }
  for (const auto& [request, change] : changes_) {
    if (!SendNow(change)) return kExitOrphan;
  }
  // Not asked again: a rollback that was done already would go one change further.
  for (const uint64_t request : std::exchange(routes_asked_, {})) {
    RoutesChanged lost;
    lost.set_request(request);
    lost.set_code(static_cast<int>(absl::StatusCode::kDeadlineExceeded));
    lost.set_message("the supervisor was replaced before it had an answer; it may be done");
    process_->OnRoutesChanged(lost);
  }
  if (traces_.any() && !SendNow(traces_.Message(), traces_.fds())) return kExitOrphan;
  LogRing::Say(&channel_);
  return std::nullopt;
}

void Control::Remember(const FromProcess& message) {
  if (message.has_change_model()) changes_[message.change_model().request()] = message;
  if (message.has_change_routes()) routes_asked_.insert(message.change_routes().request());
  // Of a peer that has ended already there is nothing left to do.
  const uint32_t accused = message.fault().incarnation();
  if (message.has_fault() && peers_.count(accused) > 0) faults_[accused] = message;
}

}  // namespace millrace
