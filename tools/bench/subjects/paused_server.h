// A server that holds still while another one is measured.
//
// Purpose: two servers on one machine are load to each other even when nobody asks them: each keeps
//   proving itself. What is compared takes turns in which the other one's processes are stopped.
// Who may call: one thread. Ownership: names a session (setsid) of processes by its leader's pid.
// Invariants: 1. Signals go to processes of that session alone. 2. Who is meant to watch the others
//   is stopped first and goes on last, so that nobody takes a pause for a death.
// What fails: nothing; a session that has ended has no processes.
#pragma once

#include <sys/types.h>

#include <vector>

namespace millrace {

class PausedServer {
 public:
  explicit PausedServer(pid_t session) : session_(session) {}
  // All of its processes are stopped when it returns.
  void Pause() const;
  void Resume() const;

 private:
  pid_t session_;
};

// The processes of a session, oldest first.
std::vector<pid_t> ProcessesOfSession(pid_t session);

}  // namespace millrace
