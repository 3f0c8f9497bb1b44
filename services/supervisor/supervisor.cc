#include "services/supervisor/supervisor.h"

#include <arpa/inet.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/short_slices.h"
#include "ipc/memfd.h"
#include "services/supervisor/admin_server.h"
#include "services/supervisor/admin_verbs.h"
#include "services/supervisor/exit_codes.h"
#include "services/supervisor/stage_table.h"
#include "services/supervisor/stored_names.h"
#include "services/supervisor/upgrade_desk.h"

namespace millrace {
namespace {

constexpr const char* kIncarnationsName = "incarnations";
// Beyond the drain: two seconds for each group, and some for the machine.
constexpr uint32_t kStopSlackMs = 15'000;
constexpr size_t kMaxStateBytes = 16 << 20;

int Fail(int code, const absl::Status& status) {
  Log(LogLevel::kError, "cannot_start", {{"why", status.ToString()}, {"code", code}});
  return code;
}

std::string BoundAddress(int fd) {
  sockaddr_storage bound = {};
  socklen_t size = sizeof bound;
  char host[INET6_ADDRSTRLEN] = "";
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size) != 0) return "";
  if (bound.ss_family == AF_INET) {
    const auto* address = reinterpret_cast<const sockaddr_in*>(&bound);
    inet_ntop(AF_INET, &address->sin_addr, host, sizeof host);
    return absl::StrCat(host, ":", ntohs(address->sin_port));
  }
  if (bound.ss_family == AF_INET6) {
    const auto* address = reinterpret_cast<const sockaddr_in6*>(&bound);
    inet_ntop(AF_INET6, &address->sin6_addr, host, sizeof host);
    return absl::StrCat("[", host, "]:", ntohs(address->sin6_port));
  }
  return absl::StrCat("unix:", reinterpret_cast<const sockaddr_un*>(&bound)->sun_path);
}

class Supervisor {
 public:
  Supervisor(const SupervisorSetup& setup, KeeperLink keeper)
      : setup_(setup), keeper_(std::move(keeper)) {}

  int Run() {
    if (const int code = SetUp(); code != kExitStopped) return code;
    Log(LogLevel::kInfo, "supervising", {{"pid", getpid()}, {"admin", setup_.admin_path}});
    AskForSlice(kShortSliceNs);  // the watchers' threads too
    if (setup_.adopted.has_value()) {
      fleet_->Adopt(*setup_.adopted);
    } else {
      fleet_->Start();
    }
    if (desk_->retired()) fleet_->HandOver();
    if (keeper_.stop()) fleet_->Stop();
    // What nobody asked for belongs to nothing that lives.
    if (const absl::Status s = keeper_.ForgetUntaken(); !s.ok()) Fail(kExitInternal, s);
    while (fleet_->phase() != FleetPhase::kDone) {
      loop_.RunOnce();
      if (fleet_->TakeNewsForAdmin() && admin_ != nullptr) admin_->Retry();
    }
    if (admin_ != nullptr) admin_->Retry();  // whoever waits for this end
    Log(LogLevel::kInfo, "stopped", {{"code", fleet_->exit_code()}});
    return fleet_->exit_code();
  }

 private:
  int SetUp() {
    absl::StatusOr<EventLoop> loop = EventLoop::Create();
    if (!loop.ok()) return Fail(kExitMemory, loop.status());
    loop_ = std::move(*loop);
    absl::StatusOr<Incarnations> incarnations =
        Incarnations::Open(keeper_.TakeKept(kIncarnationsName));
    if (!incarnations.ok()) return Fail(kExitInternal, incarnations.status());
    // Kept before a number is given out, so that none can be given out twice.
    absl::Status kept = keeper_.Keep({kIncarnationsName}, {incarnations->fd()});
    kept.Update(keeper_.SetStopLimit(static_cast<uint32_t>(setup_.config.drain_ms + kStopSlackMs)));
    if (!kept.ok()) return Fail(kExitInternal, kept);
    auto table = ProcessTable::Create(&loop_, setup_.programs, std::move(*incarnations), &keeper_);
    if (!table.ok()) return Fail(kExitMemory, table.status());
    table_ = std::move(*table);
    Placer::Made placement = Placer::Make(setup_.config, {}, keeper_.pipeline());
    for (const std::string& fault : placement.faults) {
      Log(LogLevel::kError, "placement", {{"why", fault}});
    }
    if (placement.placer == nullptr) return kExitPlacement;
    table_->SetPlacer(std::move(placement.placer));
    if (const int code = MakeFleet(); code != kExitStopped) return code;
    if (const absl::Status s = WatchEvents(); !s.ok()) return Fail(kExitMemory, s);
    FillContext();
    // Of a candidate once it serves; where one before us served, its socket is ours.
    if (desk_->candidate() || desk_->retired()) return kExitStopped;
    return OpenAdmin(/*take_over=*/setup_.adopted.has_value());
  }

  int MakeFleet() {
    FleetSetup setup;
    setup.config = setup_.config;
    setup.config_yaml = setup_.config_yaml;
    setup.roster = table_->roster_fd();
    setup.observer = !setup_.config.metrics_listen.empty();
    setup.cpus = AllowedCpus(0);
    const double cpus = static_cast<double>(setup.cpus.size());
    setup.cores = std::min(cpus, CgroupCores("/sys/fs/cgroup", "/proc/self/cgroup").value_or(cpus));
    for (auto& [name, fd] : keeper_.listeners()) {
      const auto* known = std::find(kListenerNames.begin(), kListenerNames.end(), name);
      if (known == kListenerNames.end()) {
        return Fail(kExitUsage, absl::InvalidArgumentError(
                                    absl::StrCat("listener ", name, ": must be grpc or http")));
      }
      context_.listeners.emplace_back(name, BoundAddress(fd.get()));
      setup.listeners.emplace_back(static_cast<uint32_t>(known - kListenerNames.begin()),
                                   std::make_shared<const Fd>(std::move(fd)));
    }
    std::sort(setup.listeners.begin(), setup.listeners.end());
    setup.hold = keeper_.role() == Handover::CANDIDATE;
    setup.unloaded = setup_.unloaded;
    fleet_ = std::make_unique<Fleet>(table_.get(), std::move(setup));
    table_->SetFleet(fleet_.get());
    return kExitStopped;
  }

  absl::Status WatchEvents() {
    sigset_t signals;
    sigemptyset(&signals);
    for (int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
    sigprocmask(SIG_BLOCK, &signals, nullptr);  // before the first watcher thread
    signals_ = Fd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
    tick_ = Fd(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    if (!signals_.valid() || !tick_.valid()) {
      return absl::ResourceExhaustedError("no descriptor left for signals and time");
    }
    const timespec period = {0, Fleet::kTickNs};
    const itimerspec every = {period, period};
    timerfd_settime(tick_.get(), 0, &every, nullptr);
    absl::Status status = loop_.Add(signals_.get(), EPOLLIN, [this](uint32_t) { OnSignal(); });
    status.Update(loop_.Add(tick_.get(), EPOLLIN, [this](uint32_t) { OnTick(); }));
    status.Update(loop_.Add(keeper_.fd(), EPOLLIN, [this](uint32_t) { OnKeeper(); }));
    return status;
  }

  void FillContext() {
    UpgradeDesk::Parts parts;
    parts.keeper = &keeper_;
    parts.fleet = fleet_.get();
    parts.pids = [this] { return table_->Pids(); };
    parts.command_for = [this](const Build& build) {
      std::vector<std::string> command = setup_.command_for(build);
      for (std::string& flag : SetByHand(*fleet_, setup_.config)) command.push_back(flag);
      return command;
    };
    parts.build = setup_.programs.binaries;
    parts.budget_bytes = static_cast<uint64_t>(setup_.config.memory_budget_mb) << 20;
    desk_.emplace(std::move(parts));
    context_.upgrade = &*desk_;
    context_.fleet = fleet_.get();
    context_.pid_of = [this](uint32_t key) { return table_->PidOf(key); };
    context_.cpus_of = [this](uint32_t key) {
      const pid_t pid = table_->PidOf(key);
      return pid == 0 ? CpuList() : AllowedCpus(pid);
    };
    context_.page_of = [this](uint32_t incarnation) { return table_->PageOf(incarnation); };
    context_.asker = [this] { return admin_ != nullptr ? admin_->asker() : 0; };
    context_.started_ns = MonotonicNanos();
    context_.supervisor_restarts = keeper_.restarts();
  }

  int OpenAdmin(bool take_over) {
    auto admin = AdminServer::Listen(
        &loop_, setup_.admin_path,
        [this](const std::string& line, int64_t asked_ns) {
          return AnswerAdmin(context_, line, asked_ns, MonotonicNanos());
        },
        take_over);
    if (!admin.ok()) return Fail(kExitPort, admin.status());
    admin_ = std::move(*admin);
    return kExitStopped;
  }

  void OnSignal() {
    signalfd_siginfo info;
    while (read(signals_.get(), &info, sizeof info) == sizeof info) {
      if (info.ssi_signo == SIGHUP) {
        fleet_->Reload();
      } else if (fleet_->phase() == FleetPhase::kRunning) {
        fleet_->Stop();
      } else {
        fleet_->StopNow();
      }
    }
  }

  void OnTick() {
    uint64_t ticks;
    if (read(tick_.get(), &ticks, sizeof ticks) != sizeof ticks) return;
    fleet_->Tick();
    if (!settled_) {
      settled_ = true;
      const absl::Status told = keeper_.Spare(table_->Pids());
      if (!told.ok()) Log(LogLevel::kError, "keeper_not_told", {{"why", told.ToString()}});
    }
    if (desk_->candidate()) desk_->Report(IsReady(context_, MonotonicNanos()));
    if (admin_ != nullptr) admin_->Retry();
  }

  void OnKeeper() {
    FromKeeper message;
    while (true) {
      const absl::StatusOr<bool> received = keeper_.Receive(&message);
      if (!received.ok()) return OnKeeperGone();
      if (!*received) return;
      if (message.has_promoted()) {
        desk_->Promoted();
        fleet_->Open();
        // It serves all the same where nobody can ask it.
        OpenAdmin(/*take_over=*/true);
      } else if (message.has_retired()) {
        desk_->Retired();
        fleet_->HandOver();
      } else if (message.has_upgrade_failed()) {
        desk_->Failed(message.upgrade_failed().why());
      }
    }
  }

  // Without a keeper nobody replaces us or reaps: the server ends in good order.
  void OnKeeperGone() {
    Log(LogLevel::kError, "keeper_lost");
    loop_.Remove(keeper_.fd());
    fleet_->Stop();
  }

  const SupervisorSetup& setup_;
  bool settled_ = false;
  KeeperLink keeper_;
  EventLoop loop_;
  Fd signals_;
  Fd tick_;
  std::unique_ptr<ProcessTable> table_;
  std::unique_ptr<Fleet> fleet_;
  AdminContext context_;
  std::optional<UpgradeDesk> desk_;
  std::unique_ptr<AdminServer> admin_;
};

}  // namespace

std::optional<Legacy> TakeAdopted(KeeperLink* keeper) {
  const Fd kept = keeper->TakeKept(kStoredFleet);
  if (keeper->nothing_lives() || !kept.valid()) return std::nullopt;
  const auto map = MapImmutable(kept.get(), kMaxStateBytes);
  Legacy adopted;
  FleetState* const state = &adopted.state;
  if (!map.ok() || !state->ParseFromArray(map->get_address(), static_cast<int>(map->get_size()))) {
    Log(LogLevel::kError, "state_refused", {{"why", map.status().ToString()}});
    return std::nullopt;
  }
  ConfigResult parsed = ParseConfig(state->config_yaml());
  if (!parsed.faults.empty()) return std::nullopt;
  adopted.config = std::move(parsed.config);
  return adopted;
}

int RunSupervisor(const SupervisorSetup& setup, KeeperLink keeper) {
  return Supervisor(setup, std::move(keeper)).Run();
}

}  // namespace millrace
