// Whether the supervisor stands still because it was stopped (SIGSTOP, a debugger).
//
// Purpose: a stopped supervisor ends nobody, replaces nobody and answers nobody; the next one can
//   adopt what it has. Who may call: the keeper. Ownership: none.
// Invariants: 1. only time in which it was stopped at every look counts; one that goes on again in
//   time is left alone. 2. Nothing is reaped here. Nothing fails.
#pragma once

#include <stdint.h>
#include <sys/wait.h>

#include "common/clock.h"

namespace millrace {

class StopWatch {
 public:
  static constexpr int64_t kLimitNs = kNanosPerSecond;

  // At each turn; `child` 0: there is none. Whether it is to be killed now.
  bool Look(pid_t child, int64_t now_ns) {
    siginfo_t info = {};
    const bool stopped =
        child != 0 &&
        waitid(P_PID, static_cast<id_t>(child), &info, WSTOPPED | WNOHANG | WNOWAIT) == 0 &&
        info.si_pid == child;
    if (!stopped) since_ns_ = 0;
    if (stopped && since_ns_ == 0) since_ns_ = now_ns;
    return stopped && now_ns - since_ns_ >= kLimitNs;
  }
  // While it is, turns must come by themselves.
  bool stopped() const { return since_ns_ != 0; }

 private:
  int64_t since_ns_ = 0;  // 0: it is not stopped
};

}  // namespace millrace
