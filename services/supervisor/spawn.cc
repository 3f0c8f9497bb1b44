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

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/short_slices.h"
#include "services/supervisor/exit_codes.h"

namespace millrace {
namespace {

constexpr int kControlFd = 3;

// Runs in the child of a process with threads: system calls only.
[[noreturn]] void BecomeProgram(char* const* argv, char* const* environment, int control,
                                const cpu_set_t* cpus, const ChildPlacement& place) {
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
    execve(argv[0], argv, environment);
  }
  _exit(kExitBinary);
}

// gperftools' tcmalloc takes the place of the allocator, and notes the stack of one allocation for
// each so many bytes. Where the library is not there, the loader says so and goes on without.
constexpr char kSamplingAllocator[] = "libtcmalloc.so.4";
constexpr char kSamplePeriod[] = "TCMALLOC_SAMPLE_PARAMETER=65536";

std::vector<std::string> EnvironmentOf(const ChildPlacement& place) {
  constexpr absl::string_view kPreload = "LD_PRELOAD=";
  std::vector<std::string> all;
  std::string preload = absl::StrCat(kPreload, kSamplingAllocator);
  for (char** one = environ; *one != nullptr; ++one) {
    if (place.samples_heap && absl::StartsWith(*one, kPreload)) {
      absl::StrAppend(&preload, ":", *one + kPreload.size());
    } else {
      all.emplace_back(*one);
    }
  }
  if (place.samples_heap) all.insert(all.end(), {preload, kSamplePeriod});
  return all;
}

std::vector<char*> PointersTo(std::vector<std::string>* texts) {
  std::vector<char*> pointers;
  for (std::string& text : *texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

absl::StatusOr<Child> SpawnChild(const std::vector<std::string>& argv, Fd control,
                                 const CpuList& cpus, const ChildPlacement& place) {
  std::vector<std::string> arguments = argv, environment = EnvironmentOf(place);
  const std::vector<char*> argument_pointers = PointersTo(&arguments),
                           environment_pointers = PointersTo(&environment);
  const cpu_set_t mask = MaskOf(cpus);
  const pid_t pid = fork();
  if (pid < 0) return absl::ResourceExhaustedError(absl::StrCat("fork: ", strerror(errno)));
  if (pid == 0) {
    BecomeProgram(argument_pointers.data(), environment_pointers.data(), control.get(),
                  cpus.empty() ? nullptr : &mask, place);
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
