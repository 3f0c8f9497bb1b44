#include "kernels/compile/pace.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

namespace millrace {
namespace {

int64_t until_ns = 0;  // the handler's alone, once it is installed

int64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void SetInterval(int64_t ns) {
  const timeval interval = {0, ns / 1000};
  const itimerval timer = {interval, interval};
  setitimer(ITIMER_REAL, &timer, nullptr);
}

// System calls only.
void OnAlarm(int) {
  const int error = errno;
  if (NowNs() < until_ns) {
    sched_yield();
  } else {
    SetInterval(0);
  }
  errno = error;
}

}  // namespace

void YieldOften(int64_t for_ns) {
  until_ns = NowNs() + for_ns;
  struct sigaction action = {};
  action.sa_handler = &OnAlarm;
  action.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &action, nullptr);
  SetInterval(kPieceNs);
}

}  // namespace millrace
