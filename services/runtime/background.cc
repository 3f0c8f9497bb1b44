#include "services/runtime/background.h"

#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
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

// With autogroups a process's policy and niceness count within its session only, and the sessions
// share the core as equals: a child of lowest rank took a client's core like anybody. False: there
// are none, or it is not alone in its session.
bool SetNiceOfItsSession(pid_t process, int nice) {
  if (getsid(process) != process) return false;
  const Fd file(
      open(("/proc/" + std::to_string(process) + "/autogroup").c_str(), O_WRONLY | O_CLOEXEC));
  const std::string text = std::to_string(nice);
  return file.valid() &&
         write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

bool SharedBetweenSessions() {
  std::ifstream file("/proc/sys/kernel/sched_autogroup_enabled");
  int enabled = 0;
  return file >> enabled && enabled != 0;
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
  SetNiceOfItsSession(getpid(), kALittle);
}

void LetOthersRun() {
  if (gives_way) sched_yield();
}

void RunWhenIdle(pid_t process) {
  setpriority(PRIO_PROCESS, static_cast<id_t>(process), kLeastNice);
  Batch(process);  // an idle one keeps the slice that it had, and is given none
  // A core that runs the idle class is an idle one to who places a thread that wakes. But between
  // sessions the class does not count: the thread then waits there, up to 4 ms, beside a core that
  // is idle indeed.
  if (SharedBetweenSessions() && SetNiceOfItsSession(process, kLeastNice)) return;
  SetPolicy(process, SCHED_IDLE);
}

void RunALittle(pid_t process) {
  SetPolicy(process, SCHED_BATCH);
  SetNiceOfItsSession(process, kALittle);
}

}  // namespace millrace
