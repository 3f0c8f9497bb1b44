// A compiler that has been taken over tries every way out that is known: each ends it, or is
// refused.
#include "kernels/compile/sandbox.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "kernels/compile/testing/attacks.h"

namespace millrace {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kInstrumented = true;
#else
constexpr bool kInstrumented = false;
#endif

constexpr int kWorked = 77, kFailed = 78, kNoSandbox = 99;
constexpr uint64_t kMemoryBytes = uint64_t{256} << 20;

class SandboxTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (kInstrumented) GTEST_SKIP() << "no filter and no limit of memory under a sanitizer";
    hostage_.model_fd = memfd_create("model", MFD_ALLOW_SEALING);
    hostage_.plan_fd = memfd_create("plan", MFD_ALLOW_SEALING);
    ASSERT_EQ(write(hostage_.model_fd, "0123456789", 10), 10);
    ASSERT_EQ(fcntl(hostage_.model_fd, F_ADD_SEALS,
                    F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
              0);
  }
  void TearDown() override {
    close(hostage_.model_fd);
    close(hostage_.plan_fd);
  }

  // In a child, after it has entered the sandbox: waitpid's status.
  int Run(const std::function<void(const Hostage&)>& act, bool yields = false) const {
    const pid_t pid = fork();
    if (pid == 0) {
      const absl::Status status = EnterSandbox({.model_fd = hostage_.model_fd,
                                                .plan_fd = hostage_.plan_fd,
                                                .max_memory_bytes = kMemoryBytes,
                                                .max_cpu_s = 1,
                                                .yields = yields});
      if (!status.ok()) _exit(kNoSandbox);
      act(hostage_);
      _exit(0);
    }
    int status = -1;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    return status;
  }

  // Of all numbers that there are or may come: those that come back, whatever they are given.
  std::set<long> ComeBack(bool yields) const {
    std::set<long> back;
    for (long number = 0; number < 600; ++number) {
      if (number == SYS_exit || number == SYS_exit_group) continue;
      // The kernel's own, for probes that it has placed; it asks no filter about them, and they do
      // nothing but end who calls them from elsewhere.
      if (number == 335 || number == 336) continue;
      const int status = Run(
          [&](const Hostage&) {
            syscall(number, -1, -1, -1, -1, -1, -1);
            syscall(number, 0, 0, 0, 0, 0, 0);
            _exit(kWorked);
          },
          yields);
      if (!WasKilled(status)) back.insert(number);
    }
    return back;
  }

  static bool WasKilled(int status) { return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS; }
  static std::string Ended(int status) {
    if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
    const int code = WEXITSTATUS(status);
    if (code == kWorked) return "it got out";
    if (code == kFailed) return "it was refused with an error, and goes on";
    return "exit code " + std::to_string(code);
  }

  Hostage hostage_ = {-1, -1, getpid()};
};

TEST_F(SandboxTest, EveryAttackEndsTheChild) {
  ASSERT_GT(Attacks().size(), 140u);
  std::set<std::string> names;
  for (const Attack& attack : Attacks()) {
    EXPECT_TRUE(names.insert(attack.name).second) << attack.name << " stands twice";
    const int status =
        Run([&](const Hostage& hostage) { _exit(attack.act(hostage) < 0 ? kFailed : kWorked); });
    EXPECT_TRUE(WasKilled(status)) << attack.name << ": " << Ended(status);
  }
  for (const char* left : {"escaped", "escaped2", "/dev/mqueue/escaped"}) {
    EXPECT_FALSE(std::filesystem::exists(left)) << left;
  }
}

// The list is closed: of all numbers that there are or may come, these alone come back, whatever
// they are given. (mmap and the rest are let through by their arguments, and are not here.)
TEST_F(SandboxTest, NoOtherNumberComesBack) {
  const std::set<long> allowed = {SYS_brk,    SYS_munmap,         SYS_mremap, SYS_futex,
                                  SYS_getpid, SYS_rt_sigprocmask, SYS_gettid};
  EXPECT_EQ(ComeBack(false), allowed);
  // Who yields besides; setitimer is let through by its argument.
  std::set<long> yields = {SYS_sched_yield, SYS_rt_sigreturn, SYS_clock_gettime};
  yields.insert(allowed.begin(), allowed.end());
  EXPECT_EQ(ComeBack(true), yields);
}

TEST_F(SandboxTest, WhatIsTooMuchIsRefusedOrEndsIt) {
  for (const Excess& excess : Excesses()) {
    const int status = Run([&](const Hostage& hostage) { excess.act(hostage); });
    if (excess.signal != 0) {
      EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == excess.signal)
          << excess.name << ": " << Ended(status);
    } else {
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == excess.exit_code)
          << excess.name << ": " << Ended(status);
    }
  }
  EXPECT_LE(static_cast<uint64_t>(lseek(hostage_.plan_fd, 0, SEEK_END)), kMemoryBytes);
}

TEST_F(SandboxTest, WhatACompilerNeedsIsAllowed) {
  const int status = Run([](const Hostage& hostage) {
    char text[10];
    if (pread(hostage.model_fd, text, sizeof text, 0) != 10) _exit(1);
    if (pwrite(hostage.plan_fd, text, sizeof text, 0) != 10) _exit(2);
    std::vector<std::string> memory;
    for (int i = 0; i < 2000; ++i) memory.emplace_back(10 * i, 'x');
    memory.clear();
    memory.emplace_back(64 << 20, 'x');
    try {
      throw 1;
    } catch (int) {
    }
  });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << Ended(status);
}

// It outlives nobody: with the process that started it the child ends, though it waits for ever.
TEST_F(SandboxTest, TheChildEndsWithItsParent) {
  int alive[2];
  ASSERT_EQ(pipe(alive), 0);
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  const pid_t parent = fork();
  if (parent == 0) {
    close(alive[0]);
    Run([&](const Hostage&) {
      (void)!write(1, "", 0);  // is in the sandbox
      int word = 0;
      for (;;) syscall(SYS_futex, &word, 0 /* FUTEX_WAIT */, 0, nullptr, nullptr, 0);
    });
    _exit(0);
  }
  close(alive[1]);
  // Until the grandchild waits in its futex, under the filter.
  const auto waits = [&]() -> pid_t {
    const std::string children =
        "/proc/" + std::to_string(parent) + "/task/" + std::to_string(parent) + "/children";
    FILE* const list = fopen(children.c_str(), "r");
    int pid = 0;
    const bool one = list != nullptr && fscanf(list, "%d", &pid) == 1;
    if (list != nullptr) fclose(list);
    if (!one) return 0;
    FILE* const status = fopen(("/proc/" + std::to_string(pid) + "/status").c_str(), "r");
    char line[256];
    bool filtered = false, sleeps = false;
    while (status != nullptr && fgets(line, sizeof line, status) != nullptr) {
      filtered = filtered || std::string(line) == "Seccomp:\t2\n";
      sleeps = sleeps || std::string(line).rfind("State:\tS", 0) == 0;
    }
    if (status != nullptr) fclose(status);
    return filtered && sleeps ? pid : 0;
  };
  pid_t child = 0;
  while ((child = waits()) == 0) usleep(1000);
  ASSERT_EQ(kill(parent, SIGKILL), 0);
  ASSERT_EQ(waitpid(parent, nullptr, 0), parent);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);  // ours now; without a death signal it never ends
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << Ended(status);
  char end;
  EXPECT_EQ(read(alive[0], &end, 1), 0);
  close(alive[0]);
}

}  // namespace
}  // namespace millrace
