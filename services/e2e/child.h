// A child process of a test: started, waited for, never left behind.
//
// Purpose: keeper trees and load generators as children. Who may call: the test's thread.
// Invariants: 1. the destructor kills what still runs and reaps it; 2. standard output is captured
//   whole where asked for, standard error goes to the test's log.
// What fails: the constructor aborts (a test cannot go on without its child).
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace millrace {

class Child {
 public:
  // argv[0] is the program. `capture`: keep standard output for Output().
  Child(const std::vector<std::string>& argv, bool capture);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal) const;
  // Waits for its end: the exit code, or 128 + the signal.
  int Wait();
  // Nothing while it runs.
  std::optional<int> Poll();
  // All of its standard output; waits for its end first.
  std::string Output();

 private:
  pid_t pid_ = -1;
  int output_ = -1;
  std::optional<int> code_;
};

}  // namespace millrace
