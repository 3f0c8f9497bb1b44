#include "kernels/compile/pace.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <functional>

namespace millrace {
namespace {

int64_t ProcessorNs() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void WorkFor(int64_t ns) {
  for (const int64_t from_ns = ProcessorNs(); ProcessorNs() - from_ns < ns;) {
  }
}

bool TimerIsSet() {
  itimerval timer = {};
  getitimer(ITIMER_REAL, &timer);
  return timer.it_interval.tv_usec != 0;
}

// In a child, whose timer ends with it.
bool Holds(const std::function<bool()>& claim) {
  const pid_t child = fork();
  if (child == 0) _exit(claim() ? 0 : 1);
  int status = -1;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int64_t Switches() {
  rusage use;
  getrusage(RUSAGE_SELF, &use);
  return use.ru_nvcsw + use.ru_nivcsw;
}

// Two on one core: each yield is a change, and without them there is one for each tick of the
// clock, which are at most 1000 a second.
TEST(PaceTest, WhoWaitsForTheCoreHasItSoon) {
  EXPECT_TRUE(Holds([] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof one, &one);
    const pid_t other = fork();
    if (other == 0) {
      while (true) {
      }
    }
    YieldOften(60'000'000'000);
    WorkFor(20'000'000);
    const int64_t switches = Switches();
    kill(other, SIGKILL);
    waitpid(other, nullptr, 0);
    return switches >= 60;
  }));
}

TEST(PaceTest, AfterItsTimeItYieldsNoMore) {
  EXPECT_TRUE(Holds([] {
    YieldOften(20'000'000);
    const bool begun = TimerIsSet();
    WorkFor(40'000'000);
    return begun && !TimerIsSet();
  }));
}

}  // namespace
}  // namespace millrace
