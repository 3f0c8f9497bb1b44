#include "services/supervisor/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace millrace {
namespace {

constexpr int kControlFd = 3;
constexpr int kErrorFd = 4;  // closed by the exec, or carries its errno

// Runs in the child of a process with threads: system calls only.
[[noreturn]] void BecomeProgram(char* const* argv, int control, int error_pipe) {
  // First out of the way of the numbers that are about to be given out.
  control = fcntl(control, F_DUPFD_CLOEXEC, 16);
  error_pipe = fcntl(error_pipe, F_DUPFD_CLOEXEC, 16);
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (control >= 0 && error_pipe >= 0 && null >= 0 && dup2(null, STDIN_FILENO) == STDIN_FILENO &&
      dup2(control, kControlFd) == kControlFd &&
      dup3(error_pipe, kErrorFd, O_CLOEXEC) == kErrorFd &&
      syscall(SYS_close_range, kErrorFd + 1, ~0u, 0) == 0 &&
      prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    execv(argv[0], argv);
    error_pipe = kErrorFd;
  }
  const int error = errno;
  [[maybe_unused]] const ssize_t written = write(error_pipe, &error, sizeof error);
  _exit(127);
}

}  // namespace

absl::StatusOr<Child> SpawnChild(const std::vector<std::string>& argv, Fd control) {
  std::vector<char*> pointers;
  for (const std::string& arg : argv) pointers.push_back(const_cast<char*>(arg.c_str()));
  pointers.push_back(nullptr);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return absl::ResourceExhaustedError(absl::StrCat("pipe2: ", strerror(errno)));
  }
  Fd read_end(ends[0]), write_end(ends[1]);
  const pid_t pid = fork();
  if (pid < 0) return absl::ResourceExhaustedError(absl::StrCat("fork: ", strerror(errno)));
  if (pid == 0) BecomeProgram(pointers.data(), control.get(), write_end.get());
  write_end.reset();
  // No race with a reused pid: nobody but us reaps our child, and we have not.
  Child child{pid, Fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)))};
  int error = 0;
  ssize_t n;
  do {
    n = read(read_end.get(), &error, sizeof error);
  } while (n < 0 && errno == EINTR);
  if (n == 0 && child.pidfd.valid()) return child;
  if (n == 0) error = EMFILE;
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  return absl::NotFoundError(absl::StrCat("cannot run ", argv[0], ": ", strerror(error)));
}

}  // namespace millrace
