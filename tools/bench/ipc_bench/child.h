// Child processes of a bench.
//
// Purpose: fork, wait with a limit, and never leave one behind.
// Who may call: the bench's main thread (a child is told when the thread that forked it ends).
// Ownership: a Child owns its process: the destructor ends it by its pid and reaps it. Invariants:
//   1. However the bench ends, SIGKILL included, its children end: the kernel signals them.
// What fails: no process: the bench ends with a sentence.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "ipc/fd.h"

namespace millrace::bench {

// From here on SIGINT and SIGTERM only interrupt waiting, so that the bench ends in good order.
void CatchSignals();
bool Interrupted();

class Child {
 public:
  Child() = default;
  // `body` runs in the child, whose exit code is what it returns.
  static Child Fork(const std::function<int()>& body);
  // Another program, found in PATH, its output in `log_fd`. Where the bench dies it gets SIGTERM.
  static Child Spawn(const std::vector<std::string>& command, int log_fd);

  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;
  ~Child();

  // True: it ended within the time. Then exit_code() is its code, or 128 + the signal.
  bool Wait(int timeout_ms);
  int exit_code() const { return exit_code_; }
  // SIGTERM, and SIGKILL once the time is up.
  void End(int timeout_ms);
  pid_t pid() const { return pid_; }

 private:
  static Child Start(int signal_on_death, const std::function<int()>& body);

  pid_t pid_ = -1;  // -1: none, or reaped
  Fd pidfd_;
  int exit_code_ = -1;
};

}  // namespace millrace::bench
