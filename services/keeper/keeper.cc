// The keeper: PID 1 or a subreaper. Holds sockets and descriptors, starts the supervisor, reaps,
// and replaces a supervisor that died: the next one adopts what it left. README.md has the page.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/log.h"
#include "ipc/control.pb.h"
#include "ipc/control_channel.h"
#include "services/keeper/listener.h"
#include "services/keeper/stopped.h"

namespace millrace {
namespace {

// The supervisor's table of exit codes (services/supervisor/exit_codes.h) has these too.
constexpr int kExitUsage = 64, kExitPort = 66, kExitProgram = 70, kFirstFinal = 64, kLastFinal = 76;
constexpr int kExitKilled = 1;  // the tree had to be killed
constexpr int64_t kMinBackOffNs = 100 * kNanosPerMilli, kMaxBackOffNs = kNanosPerSecond;
constexpr int64_t kLongLifeNs = kNanosPerSecond;        // a supervisor that lived so long was sound
constexpr int64_t kReapLimitNs = 10 * kNanosPerSecond;  // for the killed; some cannot be (state D)
constexpr int kTurnMs = 10;                             // while a time is awaited
constexpr size_t kMaxKept = 900;
constexpr size_t kFdsAMessage = 200;
constexpr int kMaxUnsettled = 3;  // supervisors in a row that could not take over

struct Arguments {
  std::vector<std::pair<std::string, std::string>> listen;  // name, address
  std::vector<std::string> supervisor;                      // program and its arguments
};

bool ParseArguments(int argc, char** argv, Arguments* out) {
  const std::string listen = "--listen=", supervisor = "--supervisor=";
  int i = 1;
  for (; i < argc && strcmp(argv[i], "--") != 0; ++i) {
    const std::string arg = argv[i];
    const size_t equals = arg.find('=', listen.size());
    if (arg.rfind(listen, 0) == 0 && equals != std::string::npos) {
      out->listen.emplace_back(arg.substr(listen.size(), equals - listen.size()),
                               arg.substr(equals + 1));
    } else if (arg.rfind(supervisor, 0) == 0) {
      out->supervisor = {arg.substr(supervisor.size())};
    } else {
      return false;
    }
  }
  if (out->supervisor.empty() || out->listen.empty()) return false;
  for (++i; i < argc; ++i) out->supervisor.push_back(argv[i]);
  return true;
}

class Keeper {
 public:
  explicit Keeper(Arguments arguments) : arguments_(std::move(arguments)) {}

  int Run() {
    for (const auto& [name, address] : arguments_.listen) {
      absl::StatusOr<Listener> listener = OpenListener(name, address);
      if (!listener.ok()) {
        Log(LogLevel::kError, "cannot_listen", {{"why", listener.status().ToString()}});
        return kExitPort;
      }
      Log(LogLevel::kInfo, "listening", {{"name", name}, {"address", listener->address}});
      listeners_.push_back(std::move(*listener));
    }
    sigset_t signals;
    sigemptyset(&signals);
    for (int signal : {SIGCHLD, SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    signals_ = Fd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    rlimit files;  // everyone's are kept here
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
      files.rlim_cur = files.rlim_max;
      setrlimit(RLIMIT_NOFILE, &files);
    }
    while (!exit_code_.has_value()) Turn();
    KillAll();
    for (const Listener& l : listeners_) unlink(l.unix_path.c_str());
    return *exit_code_;
  }

 private:
  void Turn() {
    if (supervisor_ == 0 && MonotonicNanos() >= start_at_ns_) Start();
    pollfd waits[] = {{signals_.get(), POLLIN, 0}, {channel_.fd(), POLLIN, 0}};
    poll(waits, 2, supervisor_ == 0 || stopping_ || stop_watch_.stopped() ? kTurnMs : -1);
    signalfd_siginfo info;
    while (read(signals_.get(), &info, sizeof info) == sizeof info) {
      if (info.ssi_signo != SIGCHLD) OnSignal(static_cast<int>(info.ssi_signo));
    }
    ReadStore();
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
      if (pid == supervisor_) OnSupervisorEnd(status);
    }
    // SIGABRT would not reach it: it is stopped.
    if (stop_watch_.Look(supervisor_, MonotonicNanos())) kill(supervisor_, SIGKILL);
    if (stopping_ && MonotonicNanos() >= kill_at_ns_) End(kExitKilled, "the stop took too long");
  }

  void Start() {
    auto pair = ControlChannel::MakePair();
    started_ns_ = MonotonicNanos();
    const pid_t pid = pair.ok() ? fork() : -1;
    if (pid == 0) BecomeSupervisor(pair->second.get());
    if (pid < 0) return BackOff();
    supervisor_ = pid;
    channel_ = ControlChannel(std::move(pair->first));
    settled_ = false;
    if (!HandOver()) kill(pid, SIGKILL);
    Log(LogLevel::kInfo, "supervisor_started", {{"pid", pid}, {"restarts", restarts_}});
  }

  bool HandOver() {
    Handover handover;
    handover.set_restarts(restarts_);
    handover.set_nothing_lives(nothing_lives_);
    std::vector<int> fds;
    for (const Listener& l : listeners_) {
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

  [[noreturn]] void BecomeSupervisor(int channel) {
    std::vector<char*> argv;
    for (std::string& argument : arguments_.supervisor) argv.push_back(argument.data());
    argv.push_back(nullptr);
    const int moved = fcntl(channel, F_DUPFD_CLOEXEC, 16);
    if (moved >= 0 && dup2(moved, 3) == 3 && syscall(SYS_close_range, 4, ~0u, 0) == 0) {
      sigset_t none;
      sigemptyset(&none);
      sigprocmask(SIG_SETMASK, &none, nullptr);
      execv(argv[0], argv.data());
    }
    fprintf(stderr, "keeper: cannot run %s: %s\n", argv[0], strerror(errno));
    _exit(kExitProgram);
  }

  void OnSignal(int signal) {
    if (signal == SIGHUP) return static_cast<void>(supervisor_ != 0 && kill(supervisor_, SIGHUP));
    if (stopping_) return End(kExitKilled, "asked to stop a second time");
    stopping_ = true;
    kill_at_ns_ = MonotonicNanos() + stop_limit_ns_;
    if (supervisor_ == 0) return End(0, "asked to stop");
    kill(supervisor_, SIGTERM);
  }

  void ReadStore() {
    ToKeeper message;
    std::vector<Fd> fds;
    while (channel_.valid()) {
      const absl::StatusOr<bool> received = channel_.Receive(&message, &fds);
      if (!received.ok()) channel_ = ControlChannel();  // it is about to be reaped
      if (!received.ok() || !*received) return;
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
      } else if (message.has_spare()) {
        settled_ = true;
        unsettled_ = 0;
        nothing_lives_ = false;
        for (pid_t child : Children()) {
          const auto& known = message.spare().pids();
          const bool spared = std::count(known.begin(), known.end(), child) > 0;
          if (child != supervisor_ && !spared) kill(child, SIGKILL);
        }
      }
    }
  }

  void Keep(const KeepAll& all, std::vector<Fd>* fds) {
    if (static_cast<size_t>(all.names_size()) != fds->size() ||
        kept_.size() + fds->size() > kMaxKept) {
      return Log(LogLevel::kError, "store_refused", {{"names", all.names_size()}});
    }
    for (int i = 0; i < all.names_size(); ++i) kept_[all.names(i)] = std::move((*fds)[i]);
  }

  void OnSupervisorEnd(int status) {
    ReadStore();  // what it said last
    channel_ = ControlChannel();
    supervisor_ = 0;
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : kExitKilled;
    Log(LogLevel::kInfo, "supervisor_ended",
        {{"code", code}, {"signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0}});
    const bool would_happen_again = code >= kFirstFinal && code <= kLastFinal && restarts_ == 0;
    if (code == 0 || would_happen_again || stopping_) return End(code, "the supervisor ended");
    // Who was killed from outside says nothing of what there is to take over.
    const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    unsettled_ += settled_ || killed ? 0 : 1;
    if (unsettled_ >= kMaxUnsettled) {
      Log(LogLevel::kError, "cannot_be_adopted", {{"after", unsettled_}});
      KillAll();
      nothing_lives_ = true;
    }
    restarts_ += 1;
    BackOff();
  }

  void BackOff() {
    const bool sound = settled_ && MonotonicNanos() - started_ns_ >= kLongLifeNs;
    back_off_ns_ = sound ? 0 : std::clamp(2 * back_off_ns_, kMinBackOffNs, kMaxBackOffNs);
    start_at_ns_ = MonotonicNanos() + back_off_ns_;
  }

  void End(int code, const char* why) {
    if (exit_code_.has_value()) return;
    Log(LogLevel::kInfo, "ending", {{"code", code}, {"why", why}});
    exit_code_ = code;
  }

  // No pid of these can be another process's: nobody but us reaps them.
  static std::vector<pid_t> Children() {
    std::ifstream file("/proc/self/task/" + std::to_string(getpid()) + "/children");
    std::vector<pid_t> children;
    for (pid_t child; file >> child;) children.push_back(child);
    return children;
  }

  // Kills every child, and their children as they become ours, until none is left.
  void KillAll() {
    supervisor_ = 0;
    const int64_t give_up_ns = MonotonicNanos() + kReapLimitNs;
    while (MonotonicNanos() < give_up_ns) {
      for (pid_t child : Children()) kill(child, SIGKILL);
      pid_t reaped;
      while ((reaped = waitpid(-1, nullptr, WNOHANG)) > 0) {
      }
      if (reaped < 0) return;
      poll(nullptr, 0, 1);
    }
    Log(LogLevel::kError, "unkillable_processes_left");
  }

  Arguments arguments_;
  std::vector<Listener> listeners_;
  std::map<std::string, Fd> kept_;
  Fd signals_;
  ControlChannel channel_;
  pid_t supervisor_ = 0;  // 0: none runs
  StopWatch stop_watch_;
  uint32_t restarts_ = 0;
  bool settled_ = false;       // this supervisor has taken over
  bool nothing_lives_ = true;  // no process is left that was told of to us
  int unsettled_ = 0;
  int64_t started_ns_ = 0, start_at_ns_ = 0, back_off_ns_ = 0;
  bool stopping_ = false;
  int64_t kill_at_ns_ = 0, stop_limit_ns_ = 30 * kNanosPerSecond;
  std::optional<int> exit_code_;
};

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  millrace::SetLogProcess("keeper");
  millrace::Arguments arguments;
  if (!millrace::ParseArguments(argc, argv, &arguments)) {
    fprintf(stderr,
            "usage: keeper --listen=NAME=ADDRESS [--listen=...] --supervisor=PROGRAM "
            "[-- ARGUMENT...]\n  ADDRESS is host:port or unix:/path\n");
    return millrace::kExitUsage;
  }
  return millrace::Keeper(std::move(arguments)).Run();
}
