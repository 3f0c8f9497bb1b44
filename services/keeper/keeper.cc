// The keeper: PID 1 or a subreaper. Holds sockets and descriptors, starts the supervisor, reaps,
// and replaces a supervisor that died: the next one adopts what it left. During an upgrade it has a
// second pipeline beside the first. README.md has the page.
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/log.h"
#include "ipc/control.pb.h"
#include "services/keeper/listener.h"
#include "services/keeper/pipeline.h"

namespace millrace {
namespace {

// The supervisor's table of exit codes (services/supervisor/exit_codes.h) has these too.
constexpr int kExitUsage = 64, kExitPort = 66, kFirstFinal = 64, kLastFinal = 76;
constexpr int kExitKilled = 1;                          // the tree had to be killed
constexpr int64_t kReapLimitNs = 10 * kNanosPerSecond;  // for the killed; some cannot be (state D)
constexpr int kTurnMs = 10;                             // while a time is awaited

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
    pipelines_.push_back(std::make_unique<Pipeline>(0, arguments_.supervisor, Handover::SERVING));
    while (!exit_code_.has_value()) Turn();
    KillAll();
    for (const Listener& l : listeners_) unlink(l.unix_path.c_str());
    return *exit_code_;
  }

 private:
  void Turn() {
    std::vector<pollfd> waits = {{signals_.get(), POLLIN, 0}};
    bool timed = false;
    for (const auto& p : pipelines_) {
      if (p->gone) continue;
      p->StartIfDue(listeners_, NewsFor(*p));
      timed |= p->supervisor() == 0 || p->kill_at_ns != 0 || p->stop_watch.stopped();
      waits.push_back({p->fd(), POLLIN, 0});
    }
    poll(waits.data(), waits.size(), timed ? kTurnMs : -1);
    signalfd_siginfo info;
    while (read(signals_.get(), &info, sizeof info) == sizeof info) {
      if (info.ssi_signo != SIGCHLD) OnSignal(static_cast<int>(info.ssi_signo));
    }
    // An upgrade that begins adds to them.
    for (size_t i = 0; i < pipelines_.size(); ++i) ReadFrom(pipelines_[i].get());
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
      for (size_t i = 0; i < pipelines_.size(); ++i) {
        if (pipelines_[i]->supervisor() == pid) OnSupervisorEnd(pipelines_[i].get(), status);
      }
    }
    for (const auto& p : pipelines_) {
      // SIGABRT would not reach it: it is stopped.
      if (p->stop_watch.Look(p->supervisor(), MonotonicNanos())) p->SignalSupervisor(SIGKILL);
    }
    for (const auto& p : pipelines_) {
      if (p->gone || p->kill_at_ns == 0 || MonotonicNanos() < p->kill_at_ns) continue;
      if (p->role == Handover::SERVING) return End(kExitKilled, "the stop took too long");
      Doom(p.get(), p->role == Handover::RETIRED ? "the drain took too long" : WhyNotReady(*p));
    }
    std::erase_if(pipelines_, [](const auto& p) { return p->gone; });
    if (pipelines_.empty()) End(last_code_, stopping_ ? "stopped" : "the supervisor ended");
  }

  Handover NewsFor(const Pipeline& pipeline) {
    Handover news;
    if (pipeline.role != Handover::SERVING) return news;
    if (const Pipeline* candidate = With(Handover::CANDIDATE)) {
      news.set_upgrading_to(candidate->name);
    }
    news.set_upgrade_failure(upgrade_failure_);
    return news;
  }

  Pipeline* With(Handover::Role role) {
    for (const auto& p : pipelines_) {
      if (p->role == role && !p->gone) return p.get();
    }
    return nullptr;
  }

  void OnSignal(int signal) {
    Pipeline* const serving = With(Handover::SERVING);
    if (signal == SIGHUP && serving != nullptr) return serving->SignalSupervisor(SIGHUP);
    if (signal == SIGHUP) return;
    if (stopping_) return End(kExitKilled, "asked to stop a second time");
    stopping_ = true;
    if (serving != nullptr) AskToEnd(serving);
    if (Pipeline* candidate = With(Handover::CANDIDATE)) Doom(candidate, "the server stops");
  }

  void AskToEnd(Pipeline* pipeline) {
    pipeline->stop = true;
    pipeline->kill_at_ns = MonotonicNanos() + pipeline->stop_limit_ns();
    if (pipeline->supervisor() != 0) return pipeline->SignalSupervisor(SIGTERM);
    // Between two: the next one is told by its handover, and drains.
    if (pipeline->nothing_lives()) return Gone(pipeline, 0);
    pipeline->StartAtOnce();
  }

  void ReadFrom(Pipeline* from) {
    for (const ToKeeper& message : from->Read()) {
      if (message.has_spare()) {
        from->Settled();
        Spare(*from, message.spare());
      } else if (message.has_upgrade()) {
        BeginUpgrade(from, message.upgrade());
      } else if (message.has_candidate_ready() && from->role == Handover::CANDIDATE) {
        if (from->doomed.empty() && !stopping_) Promote(from);
      } else if (!message.waits_for().empty()) {
        from->waits_for = message.waits_for();
      }
    }
  }

  // Kills the children that nobody knows. Processes of another pipeline are ours only where its
  // supervisor died; it has stored a pidfd of each.
  void Spare(const Pipeline& from, const millrace::Spare& spare) {
    std::vector<pid_t> known(spare.pids().begin(), spare.pids().end());
    for (const auto& p : pipelines_) {
      known.push_back(p->supervisor());
      if (p.get() == &from) continue;
      for (pid_t pid : p->Pids()) known.push_back(pid);
    }
    for (pid_t child : Children()) {
      if (std::count(known.begin(), known.end(), child) == 0) kill(child, SIGKILL);
    }
  }

  void BeginUpgrade(Pipeline* from, const Upgrade& upgrade) {
    const char* why = from->role != Handover::SERVING || stopping_ ? "this pipeline is about to end"
                      : With(Handover::CANDIDATE) != nullptr       ? "another upgrade is under way"
                      : upgrade.command().empty()                  ? "no program is named"
                                                                   : nullptr;
    if (why != nullptr) return TellFailed(from, why);
    std::vector<std::string> command(upgrade.command().begin(), upgrade.command().end());
    auto candidate =
        std::make_unique<Pipeline>(++last_number_, std::move(command), Handover::CANDIDATE);
    candidate->name = upgrade.name();
    candidate->kill_at_ns = MonotonicNanos() + upgrade.ready_within_ms() * kNanosPerMilli;
    upgrade_failure_.clear();
    Log(LogLevel::kInfo, "upgrade_begins", {{"to", candidate->name}});
    pipelines_.push_back(std::move(candidate));
  }

  // From here on there is no way back but another upgrade.
  void Promote(Pipeline* candidate) {
    Log(LogLevel::kInfo, "upgraded", {{"to", candidate->name}});
    if (Pipeline* former = With(Handover::SERVING)) {
      former->role = Handover::RETIRED;
      former->kill_at_ns = MonotonicNanos() + former->stop_limit_ns();
      former->StartAtOnce();  // where none runs: the next one drains
      FromKeeper message;
      message.mutable_retired();
      former->Tell(message);
    }
    candidate->role = Handover::SERVING;
    candidate->kill_at_ns = 0;
    FromKeeper message;
    message.mutable_promoted();
    candidate->Tell(message);
  }

  void TellFailed(Pipeline* to, const std::string& why) {
    FromKeeper message;
    message.mutable_upgrade_failed()->set_why(why);
    to->Tell(message);
  }

  static std::string WhyNotReady(const Pipeline& pipeline) {
    return "the new build did not get ready in time: " +
           (pipeline.waits_for.empty() ? "its supervisor says nothing" : pipeline.waits_for);
  }

  void OnSupervisorEnd(Pipeline* pipeline, int status) {
    ReadFrom(pipeline);  // what it said last
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : kExitKilled;
    const int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    Log(LogLevel::kInfo, "supervisor_ended", {{"code", code}, {"signal", signal}});
    const bool first = pipeline->restarts() == 0 && pipeline->name.empty();
    const bool can_be_adopted = pipeline->SupervisorEnded(status);
    if (pipeline->role == Handover::CANDIDATE || !pipeline->doomed.empty()) {
      std::string why =
          "the new build's supervisor ended with " +
          (signal != 0 ? "signal " + std::to_string(signal) : "exit code " + std::to_string(code));
      if (!pipeline->waits_for.empty()) why += ": " + pipeline->waits_for;
      return TakeAway(pipeline, pipeline->doomed.empty() ? why : pipeline->doomed);
    }
    const bool would_happen_again = code >= kFirstFinal && code <= kLastFinal && first;
    if (code == 0 || would_happen_again) return Gone(pipeline, code);
    if (!can_be_adopted) {
      Log(LogLevel::kError, "cannot_be_adopted",
          {{"after", pipeline->unsettled()}, {"program", pipeline->program()}});
      if (pipelines_.size() == 1) KillAll();
      pipeline->KillProcesses(/*wait=*/true);
      pipeline->NothingLives();
    }
    const bool ending = pipeline->stop || pipeline->role == Handover::RETIRED;
    if (ending && pipeline->nothing_lives()) return Gone(pipeline, code);
    if (ending) pipeline->StartAtOnce();
  }

  // It has ended. With the one that serves the whole server ends.
  void Gone(Pipeline* pipeline, int code) {
    pipeline->gone = true;
    pipeline->KillProcesses(/*wait=*/false);  // of a good end there are none
    if (pipeline->role != Handover::SERVING) return Log(LogLevel::kInfo, "pipeline_ended");
    last_code_ = code;
    stopping_ = true;
    if (Pipeline* candidate = With(Handover::CANDIDATE)) Doom(candidate, "the server stops");
  }

  void Doom(Pipeline* pipeline, const std::string& why) {
    pipeline->doomed = why;
    pipeline->kill_at_ns = 0;
    if (pipeline->supervisor() == 0) return TakeAway(pipeline, why);
    pipeline->SignalSupervisor(SIGKILL);
  }

  void TakeAway(Pipeline* pipeline, const std::string& why) {
    Log(LogLevel::kError, "pipeline_taken_away", {{"program", pipeline->program()}, {"why", why}});
    pipeline->KillProcesses(/*wait=*/false);
    pipeline->gone = true;
    if (pipeline->role != Handover::CANDIDATE) return;
    upgrade_failure_ = why;
    if (Pipeline* serving = With(Handover::SERVING)) TellFailed(serving, why);
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
  Fd signals_;
  // The one that serves, during an upgrade the candidate, and those that drain.
  std::vector<std::unique_ptr<Pipeline>> pipelines_;
  uint32_t last_number_ = 0;
  std::string upgrade_failure_;  // of the last one
  bool stopping_ = false;
  int last_code_ = 0;
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
