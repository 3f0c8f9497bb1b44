#include "services/registry/child_process.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/cpu_list.h"
#include "ipc/fd.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

ChildRequest Shell(const std::string& script) {
  ChildRequest request;
  request.program = "/bin/sh";
  request.arguments = {"-c", script};
  request.timeout_ns = 20 * kNanosPerSecond;
  return request;
}

TEST(RunChild, ReturnsWhatItSaidAndHowItEnded) {
  const absl::StatusOr<ChildResult> result = RunChild(Shell("echo out; echo err >&2; exit 5"));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->output, "out\n");
  EXPECT_EQ(result->errors, "err\n");
  EXPECT_EQ(result->exit_code, 5);
  EXPECT_EQ(result->signal, 0);
  EXPECT_FALSE(result->timed_out);
}

TEST(RunChild, GivesTheDescriptorsInOrderAndNoOthers) {
  const Fd first(memfd_create("first", 0)), second(memfd_create("second", 0));  // not CLOEXEC
  const Fd other(open("/dev/null", O_RDONLY));
  ASSERT_EQ(write(first.get(), "one", 3), 3);
  lseek(first.get(), 0, SEEK_SET);
  ChildRequest request = Shell("read -r line <&3; echo $line; echo two >&4; echo /proc/self/fd/*");
  // The highest numbers first, so that a naive dup2 in order would overwrite one of them.
  request.fds = {first.get(), second.get()};
  const absl::StatusOr<ChildResult> result = RunChild(request);
  ASSERT_TRUE(result.ok());
  EXPECT_THAT(result->output, StartsWith("one\n"));
  EXPECT_THAT(result->output, HasSubstr("/proc/self/fd/4"));
  EXPECT_THAT(result->output, ::testing::Not(HasSubstr("/proc/self/fd/6")));
  char text[4] = {};
  EXPECT_EQ(pread(second.get(), text, 3, 0), 3);
  EXPECT_STREQ(text, "two");
}

TEST(RunChild, EveryOrderOfDescriptorNumbersWorks) {
  for (int swap = 0; swap < 2; ++swap) {
    Fd a(memfd_create("a", MFD_CLOEXEC)), b(memfd_create("b", MFD_CLOEXEC));
    ASSERT_EQ(write(a.get(), "a\n", 2), 2);
    ASSERT_EQ(write(b.get(), "b\n", 2), 2);
    lseek(a.get(), 0, SEEK_SET);
    lseek(b.get(), 0, SEEK_SET);
    ChildRequest request = Shell("read -r x <&3; read -r y <&4; echo $x$y");
    request.fds = {a.get(), b.get()};
    if (swap) std::swap(request.fds[0], request.fds[1]);
    EXPECT_EQ(RunChild(request)->output, swap ? "ba\n" : "ab\n");
  }
}

TEST(RunChild, HasNoEnvironmentAndDefaultSignals) {
  signal(SIGTERM, SIG_IGN);
  EXPECT_THAT(RunChild(Shell("echo [$HOME$TEST_TMPDIR]"))->output, StartsWith("[]"));
  EXPECT_EQ(RunChild(Shell("kill -TERM $$; sleep 20"))->signal, SIGTERM);
  signal(SIGTERM, SIG_DFL);
}

TEST(RunChild, KillsTheChildAndItsGroupWhenTheTimeIsOver) {
  ChildRequest request = Shell("trap '' TERM; sleep 1000 & echo $!; while true; do sleep 1; done");
  request.timeout_ns = 300 * kNanosPerMilli;
  const int64_t start_ns = MonotonicNanos();
  const absl::StatusOr<ChildResult> result = RunChild(request);
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(result->timed_out);
  EXPECT_EQ(result->signal, SIGKILL);
  EXPECT_LT(MonotonicNanos() - start_ns, 10 * kNanosPerSecond);
  const pid_t grandchild = atoi(result->output.c_str());
  ASSERT_GT(grandchild, 1);
  // Reparented, it may stay a zombie for a moment; it is never a living process again.
  bool gone = false;
  for (int i = 0; i < 500 && !gone; ++i) {
    const std::string path = "/proc/" + std::to_string(grandchild) + "/stat";
    const Fd stat(open(path.c_str(), O_RDONLY));
    char text[512] = {};
    gone = !stat.valid() || read(stat.get(), text, sizeof text - 1) <= 0 ||
           std::string(text).find(") Z ") != std::string::npos;
    usleep(10'000);
  }
  EXPECT_TRUE(gone);
}

TEST(RunChild, AChildThatClosedItsOutputIsStillWaitedFor) {
  const absl::StatusOr<ChildResult> result = RunChild(Shell("exec >&- 2>&-; sleep 0.2; exit 7"));
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->exit_code, 7);
}

TEST(RunChild, KeepsNoMoreThanItsLimit) {
  ChildRequest request =
      Shell("head -c 1000000 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero >&2");
  request.max_output = 1000;
  const absl::StatusOr<ChildResult> result = RunChild(request);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->output, std::string(1000, 'x'));
  EXPECT_EQ(result->errors.size(), 1000u);
  EXPECT_EQ(result->exit_code, 0);
}

TEST(RunChild, AProgramThatIsNotThereIsSaidSo) {
  ChildRequest request = Shell("");
  request.program = "/nonexistent/compiler";
  EXPECT_TRUE(absl::IsNotFound(RunChild(request).status()));
}

TEST(RunChild, LeaksNoDescriptor) {
  const auto count = [] {
    int open_fds = 0;
    for (int fd = 0; fd < 256; ++fd) open_fds += fcntl(fd, F_GETFD) >= 0;
    return open_fds;
  };
  const int before = count();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(RunChild(Shell("true")).ok());
  ChildRequest request = Shell("");
  request.program = "/nonexistent/compiler";
  ASSERT_FALSE(RunChild(request).ok());
  EXPECT_EQ(count(), before);
}

TEST(RunChild, InTheBackgroundItGivesWayAndUsesTheCpusThatItIsGiven) {
  ChildRequest request;
  request.program = "/bin/sh";
  // Given time: it waits on its input, which is empty, and its parent sets it back meanwhile.
  request.arguments = {
      "-c",
      "until [ \"$(chrt -p $$ | head -n 1 | sed 's/.*: //')\" = SCHED_IDLE ]; do :; "
      "done; nice; taskset -cp $$"};
  request.timeout_ns = 20'000'000'000;
  request.background = true;
  request.cpus = {AllowedCpus(0).front()};
  const absl::StatusOr<ChildResult> result = RunChild(request);
  ASSERT_TRUE(result.ok());
  EXPECT_FALSE(result->timed_out) << result->errors;
  EXPECT_EQ(result->output.rfind("19\n", 0), 0u) << result->output;
  const std::string cpus = ": " + std::to_string(request.cpus[0]) + "\n";
  EXPECT_NE(result->output.find(cpus), std::string::npos) << result->output;
}

}  // namespace
}  // namespace millrace
