#include "services/supervisor/process_table.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/log.h"
#include "services/supervisor/exit_codes.h"
#include "services/supervisor/spawn.h"
#include "services/supervisor/stored_names.h"

namespace millrace {
namespace {

constexpr int kMessagesATurn = 64;  // of one process, before the others have their turn

// The lane is given a wake-up; one whose eventfd is full, or is no eventfd, gets none.
void WakeOnce(int fd) {
  pollfd ready = {fd, POLLOUT, 0};
  if (poll(&ready, 1, 0) == 1 && (ready.revents & POLLOUT) != 0) eventfd_write(fd, 1);
}

// 0 where it was reaped.
pid_t PidOfPidfd(int pidfd) {
  std::ifstream info(absl::StrCat("/proc/self/fdinfo/", pidfd));
  for (std::string word; info >> word;) {
    pid_t pid = 0;
    if (word == "Pid:" && info >> pid) return std::max(pid, 0);
  }
  return 0;
}

}  // namespace

std::vector<std::string> Programs::CommandFor(Stage stage) const {
  const std::string name(StageName(stage));
  std::vector<std::string> command = {absl::StrCat(binaries, "/", name, "/", name)};
  if (stage == Stage::kRegistry) command.push_back(absl::StrCat("--compiler=", compiler));
  return command;
}

ProcessTable::ProcessTable(EventLoop* loop, Programs programs, Incarnations incarnations,
                           KeeperLink* keeper)
    : loop_(loop),
      programs_(std::move(programs)),
      incarnations_(std::move(incarnations)),
      keeper_(keeper),
      random_(static_cast<uint32_t>(MonotonicNanos())) {}

absl::StatusOr<std::unique_ptr<ProcessTable>> ProcessTable::Create(EventLoop* loop,
                                                                   Programs programs,
                                                                   Incarnations incarnations,
                                                                   KeeperLink* keeper) {
  std::unique_ptr<ProcessTable> table(
      new ProcessTable(loop, std::move(programs), std::move(incarnations), keeper));
  absl::StatusOr<std::unique_ptr<DeathBoard>> board = DeathBoard::Create();
  if (!board.ok()) return board.status();
  table->board_ = std::move(*board);
  const Fd former(keeper->TakeKept(kStoredRoster));
  absl::StatusOr<RosterReader> reader = RosterReader::Open(former.get());
  absl::StatusOr<RosterWriter> roster =
      RosterWriter::Create(reader.ok() ? reader->generation() + 1 : 0);
  if (!roster.ok()) return roster.status();
  table->roster_.emplace(std::move(*roster));
  Fd copy(fcntl(table->roster_->fd(), F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) return absl::ResourceExhaustedError("no descriptor left for the roster");
  table->roster_fd_ = std::make_shared<const Fd>(std::move(copy));
  table->Keep({kStoredRoster}, {table->roster_fd_->get()});
  ProcessTable* const self = table.get();
  const absl::Status added =
      loop->Add(table->board_->fd(), EPOLLIN, [self](uint32_t) { self->OnBoard(); });
  if (!added.ok()) return added;
  return table;
}

ProcessTable::~ProcessTable() {
  for (auto& [key, entry] : entries_) {
    CloseChannel(&entry);
    loop_->Remove(entry.pidfd.get());
  }
  if (board_ != nullptr) loop_->Remove(board_->fd());
}

int64_t ProcessTable::NowNs() { return MonotonicNanos(); }

double ProcessTable::Random() { return std::uniform_real_distribution<double>(0, 1)(random_); }

pid_t ProcessTable::PidOf(uint32_t key) const {
  const auto it = entries_.find(key);
  return it == entries_.end() ? 0 : it->second.pid;
}

const Page* ProcessTable::PageOf(uint32_t incarnation) const {
  for (const auto& [key, entry] : entries_) {
    for (const auto& [lane, region] : entry.pages) {
      if (lane == incarnation) return region.as<const Page>();
    }
  }
  return nullptr;
}

absl::Status ProcessTable::Spawn(uint32_t key, Stage stage, uint32_t index, const CpuList& cpus) {
  auto pair = ControlChannel::MakePair();
  if (!pair.ok()) return pair.status();
  absl::StatusOr<Child> child =
      SpawnChild(programs_.CommandFor(stage), std::move(pair->second), cpus,
                 placer_ == nullptr ? ChildPlacement() : placer_->For(stage));
  if (!child.ok()) return child.status();
  Entry entry;
  entry.pid = child->pid;
  entry.pidfd = std::move(child->pidfd);
  entry.channel = ControlChannel(std::move(pair->first));
  Keep({StoredChannel(key), StoredPidfd(key)}, {entry.channel.fd(), entry.pidfd.get()});
  Log(LogLevel::kInfo, "worker_started",
      {{"name", ProcessName(stage, index)}, {"incarnation", key}, {"pid", entry.pid}});
  Enter(key, std::move(entry));
  return absl::OkStatus();
}

void ProcessTable::Enter(uint32_t key, Entry entry) {
  absl::Status added =
      loop_->Add(entry.pidfd.get(), EPOLLIN, [this, key](uint32_t) { OnPidfd(key); });
  added.Update(loop_->Add(entry.channel.fd(), EPOLLIN, [this, key](uint32_t) { OnChannel(key); }));
  MR_CHECK(added.ok(), "epoll takes the descriptors of one more process");
  entries_[key] = std::move(entry);
}

absl::Status ProcessTable::Send(uint32_t key, const ToProcess& message, const FdList& fds) {
  const auto it = entries_.find(key);
  MR_CHECK(it != entries_.end(), "the fleet speaks to processes that exist");
  if (!it->second.channel.valid()) return absl::UnavailableError("its channel is closed");
  std::vector<int> numbers;
  for (const SharedFd& fd : fds) numbers.push_back(fd->get());
  return it->second.channel.Send(message, numbers);
}

void ProcessTable::Signal(uint32_t key, int signal) {
  const auto it = entries_.find(key);
  if (it == entries_.end()) return;
  syscall(SYS_pidfd_send_signal, it->second.pidfd.get(), signal, nullptr, 0);
}

bool ProcessTable::IsStopped(uint32_t key) {
  char text[512] = {};
  const std::string path = absl::StrCat("/proc/", PidOf(key), "/stat");
  Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid() || read(file.get(), text, sizeof text - 1) <= 0) return false;
  const char* after_name = strrchr(text, ')');
  if (after_name == nullptr || after_name[1] != ' ') return false;
  return after_name[2] == 'T' || after_name[2] == 't';
}

absl::Status ProcessTable::OpenPages(uint32_t key, const std::vector<LanePage>& pages) {
  Entry& entry = entries_.at(key);
  for (const LanePage& page : pages) {
    absl::StatusOr<Region> region =
        Region::Open(page.fd->get(), kPageType, page.incarnation, sizeof(Page));
    if (!region.ok()) return region.status();
    entry.pages.emplace_back(page.incarnation, std::move(*region));
  }
  // The main thread of a process holds the word in the page of its first lane.
  entry.watcher =
      std::make_unique<Watcher>(board_.get(), key, entry.pages.front().second.as<const Page>());
  return absl::OkStatus();
}

std::optional<PageLook> ProcessTable::Look(uint32_t incarnation) {
  const Page* page = PageOf(incarnation);
  if (page == nullptr) return std::nullopt;
  PageLook look;
  // relaxed: each word is looked at alone.
  look.beat = page->beat.load(std::memory_order_relaxed);
  look.predicted_ns = page->predicted_ns.load(std::memory_order_relaxed);
  // acquire: meets the release of SayDying in services/runtime/liveness.cc.
  const uint32_t state = page->state.load(std::memory_order_acquire);
  // relaxed: stored before the state, which was acquired.
  const uint32_t reason = page->exit_reason.load(std::memory_order_relaxed);
  look.device_lost =
      state == static_cast<uint32_t>(LaneState::kDying) && reason == kReasonDeviceLost;
  // relaxed: looked at alone, once the lane has ended.
  look.executing = page->executing_count.load(std::memory_order_relaxed) > 0;
  look.answered = page->Get(Counter::kAnswered) + page->Get(Counter::kFailed) > 0;
  look.taken = page->Get(Counter::kTaken);
  look.busy_ns = page->Get(Counter::kBusyNs);
  look.queue_delay_ns = page->Get(Counter::kQueueDelayNs);
  look.queue_depth = page->Get(Counter::kQueueDepth);
  look.oldest_catalog = page->Get(Counter::kOldestCatalog);
  return look;
}

void ProcessTable::Forget(uint32_t key) {
  const auto it = entries_.find(key);
  MR_CHECK(it != entries_.end(), "a process is forgotten once");
  CloseChannel(&it->second);
  loop_->Remove(it->second.pidfd.get());
  entries_.erase(it);
  DropStored(StoredOf(key));
}

void ProcessTable::CloseChannel(Entry* entry) {
  if (!entry->channel.valid()) return;
  loop_->Remove(entry->channel.fd());
  entry->channel = ControlChannel();
}

void ProcessTable::PublishRoster(absl::Span<const RosterEntry> lanes, const FdList& wakes) {
  roster_->Publish(lanes);
  for (const SharedFd& wake : wakes) WakeOnce(wake->get());
}

void ProcessTable::Keep(const std::vector<std::string>& names, const std::vector<int>& fds) {
  if (names.empty()) return;
  const absl::Status kept = keeper_->Keep(names, fds);
  if (!kept.ok()) {
    Log(LogLevel::kError, "not_stored", {{"first", names[0]}, {"why", kept.ToString()}});
  }
}

void ProcessTable::Store(const std::vector<std::pair<std::string, SharedFd>>& fds) {
  std::vector<std::string> names;
  std::vector<int> numbers;
  for (const auto& [name, fd] : fds) {
    names.push_back(name);
    numbers.push_back(fd->get());
  }
  Keep(names, numbers);
}

// A memfd of its own each time: what the keeper holds is whole, whenever we are killed.
void ProcessTable::StoreState(const std::string& bytes) {
  const absl::StatusOr<Fd> copy = MakeSealedCopy("millrace-fleet", bytes.data(), bytes.size());
  if (copy.ok()) return Keep({kStoredFleet}, {copy->get()});
  Log(LogLevel::kError, "not_stored", {{"first", kStoredFleet}, {"why", copy.status().ToString()}});
}

void ProcessTable::DropStored(const std::string& prefix) {
  const absl::Status forgotten = keeper_->Forget(prefix);
  if (!forgotten.ok()) Log(LogLevel::kError, "not_forgotten", {{"why", forgotten.ToString()}});
}

SharedFd ProcessTable::TakeStored(const std::string& name) {
  Fd fd = keeper_->TakeKept(name);
  return fd.valid() ? std::make_shared<const Fd>(std::move(fd)) : nullptr;
}

absl::Status ProcessTable::Adopt(uint32_t key) {
  Entry entry;
  entry.pidfd = keeper_->TakeKept(StoredPidfd(key));
  entry.channel = ControlChannel(keeper_->TakeKept(StoredChannel(key)));
  if (!entry.pidfd.valid() || !entry.channel.valid()) {
    return absl::NotFoundError("its descriptors are not stored");
  }
  entry.pid = PidOfPidfd(entry.pidfd.get());
  Enter(key, std::move(entry));
  return absl::OkStatus();
}

std::vector<pid_t> ProcessTable::Pids() const {
  std::vector<pid_t> pids;
  for (const auto& [key, entry] : entries_) pids.push_back(entry.pid);
  return pids;
}

std::optional<LoadLook> ProcessTable::SampleLoad() {
  std::vector<pid_t> ours = {getpid(), getppid()};
  for (const auto& [key, entry] : entries_) ours.push_back(entry.pid);
  return load_.Sample(ours, MonotonicNanos());
}

void ProcessTable::OnChannel(uint32_t key) {
  for (int i = 0; i < kMessagesATurn; ++i) {
    const auto it = entries_.find(key);
    if (it == entries_.end() || !it->second.channel.valid()) return;
    FromProcess message;
    std::vector<Fd> fds;
    const absl::StatusOr<bool> received = it->second.channel.Receive(&message, &fds);
    if (received.ok() && !*received) return;
    if (received.ok()) {
      fleet_->OnMessage(key, message, std::move(fds));
      continue;
    }
    CloseChannel(&it->second);
    if (absl::IsUnavailable(received.status())) {
      fleet_->OnDeath(key, MonotonicNanos());
    } else {
      fleet_->OnBrokenChannel(key, std::string(received.status().message()));
    }
    return;
  }
}

void ProcessTable::OnPidfd(uint32_t key) {
  const auto it = entries_.find(key);
  if (it == entries_.end()) return;
  siginfo_t info = {};
  ProcessEnd end;
  if (waitid(static_cast<idtype_t>(P_PIDFD), it->second.pidfd.get(), &info, WEXITED | WNOHANG) !=
      0) {
    // An adopted one is the keeper's child: it has ended, and how, the keeper alone could tell.
    if (errno == ECHILD) fleet_->OnEnd(key, {kExitUnknown, 0});
    return;
  }
  if (info.si_pid == 0) return;
  (info.si_code == CLD_EXITED ? end.exit_code : end.signal) = info.si_status;
  fleet_->OnEnd(key, end);
}

void ProcessTable::OnBoard() {
  for (const DeathSeen& seen : board_->Take()) fleet_->OnDeath(seen.key, seen.at_ns);
}

}  // namespace millrace
