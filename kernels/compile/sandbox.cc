#include "kernels/compile/sandbox.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"

namespace millrace {
namespace {

// A sanitizer maps terabytes of shadow memory and makes calls of its own. This is the one place
// that asks.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kInstrumented = true;
#else
constexpr bool kInstrumented = false;
#endif

absl::Status Failed(const char* what, int error) {
  return absl::InternalError(absl::StrCat("sandbox: ", what, ": ", strerror(error)));
}

absl::Status SetLimits(const SandboxLimits& limits) {
  const struct {
    __rlimit_resource resource;
    uint64_t value;
    const char* name;
  } rows[] = {
      {RLIMIT_AS, kInstrumented ? RLIM_INFINITY : limits.max_memory_bytes, "RLIMIT_AS"},
      {RLIMIT_FSIZE, limits.max_memory_bytes, "RLIMIT_FSIZE"},
      {RLIMIT_CPU, limits.max_cpu_s, "RLIMIT_CPU"},
      {RLIMIT_CORE, 0, "RLIMIT_CORE"},
      {RLIMIT_NOFILE, 0, "RLIMIT_NOFILE"},  // those that are open stay open
  };
  for (const auto& row : rows) {
    rlimit limit = {.rlim_cur = row.value, .rlim_max = row.value};
    if (row.resource == RLIMIT_CPU) ++limit.rlim_max;  // SIGXCPU names the cause, SIGKILL does not
    if (setrlimit(row.resource, &limit) != 0) return Failed(row.name, errno);
  }
  // A plan over the limit is then a failed write with a reason instead of a signal.
  signal(SIGXFSZ, SIG_IGN);
  return absl::OkStatus();
}

int AllowOnFd(scmp_filter_ctx filter, int call, int fd) {
  return seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1,
                          SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(fd)));
}

// Memory may be mapped and changed, but never made executable, nor be that of a descriptor.
int AllowMemory(scmp_filter_ctx filter) {
  const scmp_arg_cmp no_code = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
  const scmp_arg_cmp no_file = SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS);
  const int map = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2, no_code, no_file);
  const int protect = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, no_code);
  // What malloc gives back. Other advice poisons a page of the machine, where root asks for it.
  const int advise = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(madvise), 1,
                                      SCMP_A2(SCMP_CMP_EQ, MADV_DONTNEED));
  return std::min({map, protect, advise});
}

int AddRules(scmp_filter_ctx filter, const SandboxLimits& limits) {
  const int own_pid = getpid();
  int failures = 0;
  const auto must = [&failures](int result) { failures += result < 0 ? 1 : 0; };
  must(AllowOnFd(filter, SCMP_SYS(pread64), limits.model_fd));
  must(AllowOnFd(filter, SCMP_SYS(pwrite64), limits.plan_fd));
  must(AllowOnFd(filter, SCMP_SYS(write), STDOUT_FILENO));
  must(AllowOnFd(filter, SCMP_SYS(write), STDERR_FILENO));
  must(AllowMemory(filter));
  for (const int call : {SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(futex),
                         SCMP_SYS(exit), SCMP_SYS(exit_group)}) {
    must(seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0));
  }
  // So that a failed check ends in SIGABRT, which says what happened, and not in SIGSYS.
  for (const int call : {SCMP_SYS(rt_sigprocmask), SCMP_SYS(getpid), SCMP_SYS(gettid)}) {
    must(seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0));
  }
  must(AllowOnFd(filter, SCMP_SYS(tgkill), own_pid));
  if (limits.yields) {
    must(seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(setitimer), 1,
                          SCMP_A0(SCMP_CMP_EQ, ITIMER_REAL)));
    // The time of day is a system call where the machine's clock cannot be read without.
    for (const int call :
         {SCMP_SYS(sched_yield), SCMP_SYS(rt_sigreturn), SCMP_SYS(clock_gettime)}) {
      must(seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0));
    }
  }
  return failures;
}

absl::Status InstallFilter(const SandboxLimits& limits) {
  const std::unique_ptr<void, decltype(&seccomp_release)> filter(
      seccomp_init(SCMP_ACT_KILL_PROCESS), &seccomp_release);
  if (filter == nullptr) return Failed("seccomp_init", ENOMEM);
  // Calls by the gates of 32-bit programs.
  if (const int result =
          seccomp_attr_set(filter.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
      result != 0) {
    return Failed("seccomp_attr_set", -result);
  }
  if (AddRules(filter.get(), limits) != 0) return Failed("seccomp_rule_add", EINVAL);
  const int result = seccomp_load(filter.get());
  return result == 0 ? absl::OkStatus() : Failed("seccomp_load", -result);
}

}  // namespace

absl::Status EnterSandbox(const SandboxLimits& limits) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return Failed("no_new_privs", errno);
  // One that waits for ever uses no processor time: whoever started it limits its time, and may
  // die.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return Failed("death signal", errno);
  if (absl::Status status = SetLimits(limits); !status.ok()) return status;
  return kInstrumented ? absl::OkStatus() : InstallFilter(limits);
}

}  // namespace millrace
