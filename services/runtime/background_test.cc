#include "services/runtime/background.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "common/short_slices.h"

namespace millrace {
namespace {

uint64_t SliceOf(pid_t process) {
  SchedulingAttributes attributes = {};
  EXPECT_EQ(syscall(SYS_sched_getattr, process, &attributes, sizeof attributes, 0), 0);
  return attributes.runtime_ns;
}

TEST(BackgroundTest, AThreadThatGivesWayIsAloneInIt) {
  int policy = -1;
  uint64_t slice_ns = 0;
  std::thread([&] {
    GiveWay();
    policy = sched_getscheduler(0);
    slice_ns = SliceOf(0);
  }).join();
  EXPECT_EQ(policy, SCHED_BATCH);
  EXPECT_EQ(sched_getscheduler(0), SCHED_OTHER);
  if (slice_ns == 0) return;  // a kernel before 6.12
  EXPECT_GT(slice_ns, 10 * kShortSliceNs) << "who wakes must have a shorter one";
}

TEST(BackgroundTest, AThreadThatGivesWayForGoodIsAloneInIt) {
  int nice = -1, policy = -1;
  std::thread([&] {
    GiveWayForGood();
    nice = getpriority(PRIO_PROCESS, 0);
    policy = sched_getscheduler(0);
  }).join();
  EXPECT_EQ(nice, 19);
  EXPECT_EQ(policy, SCHED_BATCH);
  EXPECT_EQ(getpriority(PRIO_PROCESS, 0), 0);
}

TEST(BackgroundTest, AChildRunsWhenNobodyElseDoes) {
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  RunWhenIdle(child);
  EXPECT_EQ(sched_getscheduler(child), SCHED_IDLE);
  EXPECT_EQ(getpriority(PRIO_PROCESS, child), 19);
  RunALittle(child);  // is allowed, or not: it does not fail
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

}  // namespace
}  // namespace millrace
