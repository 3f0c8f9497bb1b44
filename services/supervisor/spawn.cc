#include "services/supervisor/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "common/short_slices.h"
#include "services/supervisor/exit_codes.h"

namespace millrace {
namespace {

constexpr int kControlFd = 3;

// Runs in the child of a process with threads: system calls only.
[[noreturn]] void BecomeProgram(char* const* argv, int control, const cpu_set_t* cpus,
                                const ChildPlacement& place) {
  if (cpus != nullptr) sched_setaffinity(0, sizeof *cpus, cpus);
  if (!Apply(place)) _exit(kExitPlacement);
  // First out of the way of the number that is about to be given out.
  const int moved = fcntl(control, F_DUPFD_CLOEXEC, kControlFd + 1);
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (moved >= 0 && dup2(null, STDIN_FILENO) == STDIN_FILENO &&
      dup2(moved, kControlFd) == kControlFd &&
      syscall(SYS_close_range, kControlFd + 1, ~0u, 0) == 0 &&
      prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) {
    AskForSlice(kUsualSlice);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    execv(argv[0], argv);
  }
  _exit(kExitBinary);
}

}  // namespace

absl::StatusOr<Child> SpawnChild(const std::vector<std::string>& argv, Fd control,
                                 const CpuList& cpus, const ChildPlacement& place) {
  std::vector<char*> pointers;
  for (const std::string& arg : argv) pointers.push_back(const_cast<char*>(arg.c_str()));
  pointers.push_back(nullptr);
  const cpu_set_t mask = MaskOf(cpus);
  const pid_t pid = fork();
  if (pid < 0) return absl::ResourceExhaustedError(absl::StrCat("fork: ", strerror(errno)));
  if (pid == 0) {
    BecomeProgram(pointers.data(), control.get(), cpus.empty() ? nullptr : &mask, place);
  }
  // No race with a reused pid: nobody but us reaps our child, and we have not.
  Child child{pid, Fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)))};
  if (child.pidfd.valid()) return child;
  const int error = errno;
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  return absl::ResourceExhaustedError(absl::StrCat("pidfd_open: ", strerror(error)));
}

}  // namespace millrace
