#include "services/runtime/background.h"

#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/short_slices.h"

namespace millrace {
namespace {

// The most that the kernel takes: who wakes with a shorter one takes the core at once; with one
// that is as short as a lane's it would wait for the next tick of the clock, up to 4 ms.
constexpr uint64_t kSliceNs = 100'000'000;
constexpr int kLeastNice = 19;

thread_local bool gives_way = false;

void SetPolicy(pid_t process, int policy) {
  const sched_param none = {};
  sched_setscheduler(process, policy, &none);
}

void Batch(pid_t process) {
  SchedulingAttributes attributes = {};
  attributes.size = sizeof attributes;
  attributes.policy = SCHED_BATCH;
  attributes.nice = getpriority(PRIO_PROCESS, static_cast<id_t>(process));
  attributes.runtime_ns = kSliceNs;
  if (syscall(SYS_sched_setattr, process, &attributes, 0) != 0) SetPolicy(process, SCHED_BATCH);
}

}  // namespace

void GiveWay() {
  gives_way = true;
  Batch(0);
}

void GiveWayForGood() {
  // Of the thread alone: that is what 0 means to the kernel here.
  setpriority(PRIO_PROCESS, 0, kLeastNice);
  GiveWay();
}

void LetOthersRun() {
  if (gives_way) sched_yield();
}

void RunWhenIdle(pid_t process) {
  setpriority(PRIO_PROCESS, static_cast<id_t>(process), kLeastNice);
  Batch(process);  // an idle one keeps the slice that it had, and is given none
  SetPolicy(process, SCHED_IDLE);
}

void RunALittle(pid_t process) { SetPolicy(process, SCHED_BATCH); }

}  // namespace millrace
