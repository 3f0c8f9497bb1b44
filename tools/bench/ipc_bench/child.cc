#include "tools/bench/ipc_bench/child.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <iostream>

#include "tools/bench/ipc_bench/machine.h"

namespace millrace::bench {
namespace {

volatile sig_atomic_t interrupted = 0;

}  // namespace

void CatchSignals() {
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupted = 1; };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool Interrupted() { return interrupted != 0; }

Child Child::Start(int signal_on_death, const std::function<int()>& body) {
  const pid_t parent = getpid();
  // Nothing is printed twice.
  std::cout.flush();
  fflush(nullptr);
  Child child;
  child.pid_ = fork();
  if (child.pid_ < 0) Die("no child process");
  if (child.pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, signal_on_death);
    if (getppid() != parent) _exit(1);  // the parent was quicker to die
    exit(body());                       // so that libraries take leave of their daemons
  }
  child.pidfd_ = Fd(static_cast<int>(syscall(SYS_pidfd_open, child.pid_, 0)));
  if (!child.pidfd_.valid()) Die("a child process cannot be watched");
  return child;
}

Child Child::Fork(const std::function<int()>& body) { return Start(SIGKILL, body); }

Child Child::Spawn(const std::vector<std::string>& command, int log_fd) {
  return Start(SIGTERM, [&] {
    std::vector<char*> words;
    for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    dup2(log_fd, STDOUT_FILENO);
    dup2(log_fd, STDERR_FILENO);
    execvp(words[0], words.data());
    Die(words[0]);
    return 1;
  });
}

Child::Child(Child&& other) noexcept { *this = std::move(other); }

Child& Child::operator=(Child&& other) noexcept {
  if (this == &other) return *this;
  End(0);
  pid_ = std::exchange(other.pid_, -1);
  pidfd_ = std::move(other.pidfd_);
  exit_code_ = other.exit_code_;
  return *this;
}

Child::~Child() { End(0); }

bool Child::Wait(int timeout_ms) {
  if (pid_ < 0) return true;
  pollfd p = {pidfd_.get(), POLLIN, 0};
  if (poll(&p, 1, timeout_ms) <= 0) return false;
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return true;
}

void Child::End(int timeout_ms) {
  if (pid_ < 0) return;
  if (timeout_ms > 0) kill(pid_, SIGTERM);
  if (Wait(timeout_ms)) return;
  kill(pid_, SIGKILL);
  Wait(-1);
}

}  // namespace millrace::bench
