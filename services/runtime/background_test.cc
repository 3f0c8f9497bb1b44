#include "services/runtime/background.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

namespace millrace {
namespace {

TEST(BackgroundTest, AThreadThatGivesWayIsAloneInIt) {
  int policy = -1;
  std::thread([&policy] {
    GiveWay();
    policy = sched_getscheduler(0);
  }).join();
  EXPECT_EQ(policy, SCHED_BATCH);
  EXPECT_EQ(sched_getscheduler(0), SCHED_OTHER);
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
