#include "services/runtime/background.h"

#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

#include "common/short_slices.h"
#include "ipc/fd.h"

namespace millrace {
namespace {

// The most that the kernel takes: who wakes with a shorter one takes the core at once; with one
// that is as short as a lane's it would wait for the next tick of the clock, up to 4 ms.
constexpr uint64_t kSliceNs = 100'000'000;
constexpr int kLeastNice = 19;
constexpr int kALittle = 10;

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

// With autogroups a process's policy and niceness count within its session only, and the sessions
// share the core as equals: a child of lowest rank took a client's core like anybody.
void SetNiceOfItsSession(pid_t process, int nice) {
  if (getsid(process) != process) return;  // it is not alone in it
  const Fd file(open(("/proc/" + std::to_string(process) + "/autogroup").c_str(),
                     O_WRONLY | O_CLOEXEC));
  if (!file.valid()) return;
  const std::string text = std::to_string(nice);
  // A kernel without autogroups has no such file; one that refuses leaves what there was.
  [[maybe_unused]] const ssize_t written = write(file.get(), text.data(), text.size());
}

}  // namespace

void GiveWay() { Batch(0); }

void RunWhenIdle(pid_t process) {
  setpriority(PRIO_PROCESS, static_cast<id_t>(process), kLeastNice);
  Batch(process);  // an idle one keeps the slice that it had, and is given none
  SetPolicy(process, SCHED_IDLE);
  SetNiceOfItsSession(process, kLeastNice);
}

void RunALittle(pid_t process) {
  SetPolicy(process, SCHED_BATCH);
  SetNiceOfItsSession(process, kALittle);
}

}  // namespace millrace
