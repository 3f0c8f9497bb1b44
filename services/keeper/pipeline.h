// One build's pipeline as the keeper sees it: its supervisor, and what that one stored.
//
// Purpose: start a supervisor, hand it what there is, take what it stores, know its processes by
//   their pidfds. Who may call: the keeper, one thread.
// Ownership: the channel and every stored descriptor; what is stored is this pipeline's alone.
// Invariants: 1. at most one supervisor of a pipeline runs. 2. A supervisor starts with SIGTERM,
//   SIGINT and SIGHUP blocked, so that none of them can end it before it looks for them.
// What fails: a start is tried again later; everything else is logged.
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

#include "ipc/control.pb.h"
#include "ipc/control_channel.h"
#include "services/keeper/listener.h"
#include "services/keeper/stopped.h"

namespace millrace {

inline constexpr int kExitProgram = 70;  // the supervisor's program cannot be run

class Pipeline {
 public:
  Pipeline(uint32_t number, std::vector<std::string> command, Handover::Role role)
      : number_(number), command_(std::move(command)), role(role) {}

  // Starts a supervisor if none runs and it is time. `news`: what it is told beside what we know.
  void StartIfDue(const std::vector<Listener>& listeners, Handover news);
  void StartAtOnce() { start_at_ns_ = 0; }

  // What the supervisor said and is not the store's business.
  std::vector<ToKeeper> Read();
  void Tell(const FromKeeper& message);
  void SignalSupervisor(int signal);

  // Its supervisor was reaped. False: three in a row could not take over.
  bool SupervisorEnded(int status);
  // The one that runs has taken over.
  void Settled();
  // Of every process that it stored a pidfd of.
  std::vector<pid_t> Pids() const;
  // SIGKILL to all of them; `wait`: until they have ended.
  void KillProcesses(bool wait);
  void NothingLives() { nothing_lives_ = true; }

  int fd() const { return channel_.fd(); }
  pid_t supervisor() const { return supervisor_; }  // 0: none runs
  bool nothing_lives() const { return nothing_lives_; }
  uint32_t restarts() const { return restarts_; }
  int unsettled() const { return unsettled_; }  // supervisors in a row that could not take over
  int64_t stop_limit_ns() const { return stop_limit_ns_; }
  const std::string& program() const { return command_[0]; }

 private:
  bool HandOver(const std::vector<Listener>& listeners, Handover handover);
  [[noreturn]] void Become(int channel);
  void Keep(const KeepAll& all, std::vector<Fd>* fds);
  void BackOff();

  const uint32_t number_;
  std::vector<std::string> command_;
  std::map<std::string, Fd> kept_;
  ControlChannel channel_;
  pid_t supervisor_ = 0;
  uint32_t restarts_ = 0;
  bool settled_ = false;       // this supervisor has taken over
  bool nothing_lives_ = true;  // no process is left that was told of to us
  int unsettled_ = 0;
  int64_t started_ns_ = 0, start_at_ns_ = 0, back_off_ns_ = 0;
  int64_t stop_limit_ns_ = 30'000'000'000;  // until the supervisor says another

 public:  // the keeper's own notes
  Handover::Role role;
  StopWatch stop_watch;    // of its supervisor
  std::string name;        // of the build; the first one has none
  std::string waits_for;   // of a candidate
  std::string doomed;      // why it is taken away; empty: it is not
  int64_t kill_at_ns = 0;  // 0: no limit
  bool stop = false;       // it was asked to end
  bool gone = false;       // nothing of it is left
};

}  // namespace millrace
