#include "services/runtime/background.h"

#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace millrace {
namespace {

constexpr uint64_t kSliceNs = 100'000;  // the least that the kernel takes
constexpr int kLeastNice = 19;

// linux/sched/types.h, which cannot be had beside sched.h.
struct SchedAttributes {
  uint32_t size = sizeof(SchedAttributes);
  uint32_t policy = 0;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime = 0, deadline = 0, period = 0;
};

void SetPolicy(pid_t process, int policy) {
  const sched_param none = {};
  sched_setscheduler(process, policy, &none);
}

}  // namespace

void GiveWay() {
  SchedAttributes attributes;
  attributes.policy = SCHED_BATCH;
  attributes.nice = getpriority(PRIO_PROCESS, 0);
  attributes.runtime = kSliceNs;
  if (syscall(SYS_sched_setattr, 0, &attributes, 0) != 0) SetPolicy(0, SCHED_BATCH);
}

void RunWhenIdle(pid_t process) {
  setpriority(PRIO_PROCESS, static_cast<id_t>(process), kLeastNice);
  SetPolicy(process, SCHED_IDLE);
}

void RunALittle(pid_t process) { SetPolicy(process, SCHED_BATCH); }

}  // namespace millrace
