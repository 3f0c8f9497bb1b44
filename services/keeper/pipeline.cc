#include "services/keeper/pipeline.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "common/clock.h"
#include "common/log.h"

namespace millrace {
namespace {

constexpr int64_t kMinBackOffNs = 100 * kNanosPerMilli, kMaxBackOffNs = kNanosPerSecond;
constexpr int64_t kLongLifeNs = kNanosPerSecond;  // a supervisor that lived so long was sound
constexpr int64_t kEndLimitNs = 10 * kNanosPerSecond;
constexpr size_t kMaxKept = 900;
constexpr size_t kFdsAMessage = 200;
constexpr int kMaxUnsettled = 3;  // supervisors in a row that could not take over
constexpr const char* kPidfd = "/pidfd";

bool IsPidfd(const std::string& name) {
  const size_t length = strlen(kPidfd);
  return name.size() > length && name.compare(name.size() - length, length, kPidfd) == 0;
}

// 0 where it was reaped.
pid_t PidOfPidfd(int pidfd) {
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(pidfd));
  for (std::string word; info >> word;) {
    pid_t pid = 0;
    if (word == "Pid:" && info >> pid) return std::max(pid, 0);
  }
  return 0;
}

}  // namespace

void Pipeline::StartIfDue(const std::vector<Listener>& listeners, Handover news) {
  if (supervisor_ != 0 || MonotonicNanos() < start_at_ns_) return;
  auto pair = ControlChannel::MakePair();
  started_ns_ = MonotonicNanos();
  const pid_t pid = pair.ok() ? fork() : -1;
  if (pid == 0) Become(pair->second.get());
  if (pid < 0) return BackOff();
  supervisor_ = pid;
  channel_ = ControlChannel(std::move(pair->first));
  settled_ = false;
  news.set_restarts(restarts_);
  news.set_nothing_lives(nothing_lives_);
  news.set_pipeline(number_);
  news.set_role(role);
  news.set_stop(stop);
  if (!HandOver(listeners, std::move(news))) kill(pid, SIGKILL);
  Log(LogLevel::kInfo, "supervisor_started",
      {{"pid", pid}, {"restarts", restarts_}, {"program", program()}});
}

bool Pipeline::HandOver(const std::vector<Listener>& listeners, Handover handover) {
  std::vector<int> fds;
  for (const Listener& l : listeners) {
    handover.add_listeners(l.name);
    fds.push_back(l.socket.get());
  }
  for (const auto& [name, fd] : kept_) {
    if (fds.size() == kFdsAMessage) {
      handover.set_more(true);
      if (!channel_.Send(handover, fds).ok()) return false;
      handover.clear_listeners(), handover.clear_kept(), handover.clear_more();
      fds.clear();
    }
    handover.add_kept(name);
    fds.push_back(fd.get());
  }
  return channel_.Send(handover, fds).ok();
}

void Pipeline::Become(int channel) {
  std::vector<char*> argv;
  for (std::string& argument : command_) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const int moved = fcntl(channel, F_DUPFD_CLOEXEC, 16);
  if (moved >= 0 && dup2(moved, 3) == 3 && syscall(SYS_close_range, 4, ~0u, 0) == 0) {
    sigset_t blocked;
    sigemptyset(&blocked);
    for (int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&blocked, signal);
    sigprocmask(SIG_SETMASK, &blocked, nullptr);
    execv(argv[0], argv.data());
  }
  fprintf(stderr, "keeper: cannot run %s: %s\n", argv[0], strerror(errno));
  _exit(kExitProgram);
}

std::vector<ToKeeper> Pipeline::Read() {
  std::vector<ToKeeper> others;
  ToKeeper message;
  std::vector<Fd> fds;
  while (channel_.valid()) {
    const absl::StatusOr<bool> received = channel_.Receive(&message, &fds);
    if (!received.ok()) channel_ = ControlChannel();  // it is about to be reaped
    if (!received.ok() || !*received) break;
    // A copy first: both are of one oneof.
    const std::string single = message.keep();
    if (!single.empty()) message.mutable_keep_all()->add_names(single);
    if (message.has_keep_all()) {
      Keep(message.keep_all(), &fds);
    } else if (!message.forget().empty()) {
      const std::string& name = message.forget();
      std::erase_if(kept_, [&](const auto& kept) {
        return kept.first == name || (name.back() == '/' && kept.first.rfind(name, 0) == 0);
      });
    } else if (message.stop_within_ms() > 0) {
      stop_limit_ns_ = message.stop_within_ms() * kNanosPerMilli;
    } else {
      others.push_back(message);
    }
  }
  return others;
}

void Pipeline::Keep(const KeepAll& all, std::vector<Fd>* fds) {
  if (static_cast<size_t>(all.names_size()) != fds->size() ||
      kept_.size() + fds->size() > kMaxKept) {
    return Log(LogLevel::kError, "store_refused", {{"names", all.names_size()}});
  }
  for (int i = 0; i < all.names_size(); ++i) kept_[all.names(i)] = std::move((*fds)[i]);
}

// One that does not read is stopped, or about to die: its successor is told by the handover.
void Pipeline::Tell(const FromKeeper& message) {
  if (!channel_.valid()) return;
  const absl::Status told = channel_.Send(message);
  if (!told.ok()) Log(LogLevel::kWarning, "supervisor_not_told", {{"why", told.ToString()}});
}

void Pipeline::SignalSupervisor(int signal) {
  if (supervisor_ != 0) kill(supervisor_, signal);
}

bool Pipeline::SupervisorEnded(int status) {
  channel_ = ControlChannel();
  supervisor_ = 0;
  // Who was killed from outside says nothing of what there is to take over.
  const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  unsettled_ += settled_ || killed ? 0 : 1;
  restarts_ += 1;
  BackOff();
  return unsettled_ < kMaxUnsettled;
}

void Pipeline::BackOff() {
  const bool sound = settled_ && MonotonicNanos() - started_ns_ >= kLongLifeNs;
  back_off_ns_ = sound ? 0 : std::clamp(2 * back_off_ns_, kMinBackOffNs, kMaxBackOffNs);
  start_at_ns_ = MonotonicNanos() + back_off_ns_;
}

void Pipeline::Settled() {
  settled_ = true;
  unsettled_ = 0;
  nothing_lives_ = false;
}

std::vector<pid_t> Pipeline::Pids() const {
  std::vector<pid_t> pids;
  for (const auto& [name, fd] : kept_) {
    if (IsPidfd(name)) pids.push_back(PidOfPidfd(fd.get()));
  }
  return pids;
}

void Pipeline::KillProcesses(bool wait) {
  std::vector<pollfd> ends;
  for (const auto& [name, fd] : kept_) {
    if (!IsPidfd(name)) continue;
    syscall(SYS_pidfd_send_signal, fd.get(), SIGKILL, nullptr, 0);
    ends.push_back({fd.get(), POLLIN, 0});
  }
  const int64_t give_up_ns = MonotonicNanos() + kEndLimitNs;
  while (wait && !ends.empty() && MonotonicNanos() < give_up_ns) {
    poll(ends.data(), ends.size(), 100);
    std::erase_if(ends, [](const pollfd& end) { return end.revents != 0; });
  }
}

}  // namespace millrace
