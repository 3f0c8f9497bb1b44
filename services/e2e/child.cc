#include "services/e2e/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/check.h"

extern char** environ;

namespace millrace {
namespace {

int CodeOf(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

}  // namespace

Child::Child(const std::vector<std::string>& argv, bool capture) {
  std::vector<char*> arguments;
  for (const std::string& a : argv) arguments.push_back(const_cast<char*>(a.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  int ends[2] = {-1, -1};
  if (capture) {
    MR_CHECK(pipe2(ends, O_CLOEXEC) == 0, "no pipe for a child");
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  }
  const int error = posix_spawn(&pid_, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  MR_CHECK(error == 0, "a child cannot be started");
  if (capture) close(ends[1]);
  output_ = ends[0];
}

Child::~Child() {
  if (!Poll().has_value()) {
    Signal(SIGKILL);
    Wait();
  }
  if (output_ >= 0) close(output_);
}

void Child::Signal(int signal) const { kill(pid_, signal); }

std::optional<int> Child::Poll() {
  if (code_.has_value()) return code_;
  int status;
  if (waitpid(pid_, &status, WNOHANG) == pid_) code_ = CodeOf(status);
  return code_;
}

int Child::Wait() {
  int status;
  while (!code_.has_value()) {
    if (waitpid(pid_, &status, 0) == pid_) code_ = CodeOf(status);
  }
  return *code_;
}

std::string Child::Output() {
  std::string text;
  char buffer[4096];
  while (true) {
    const ssize_t n = read(output_, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    text.append(buffer, n);
  }
  Wait();
  return text;
}

}  // namespace millrace
