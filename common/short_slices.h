// Being run soon after a wake-up, beside others who compute.
//
// Purpose: a thread that works in short bursts (a lane, the supervisor, a watcher of deaths) asks
//   the scheduler for short slices: when it wakes it then runs at once instead of behind the slice
//   of whoever computes on its core, a dying process's teardown or a starting one's touching of its
//   memory included. It gets no more of the core for it. Who may call: any thread, for itself and
//   the threads and processes that it starts; no privilege is needed.
// Nothing fails: kernels before 6.12 know no slices of a thread's own and change nothing.
#pragma once

#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace millrace {

inline constexpr uint64_t kShortSliceNs = 100'000;  // the shortest there is
inline constexpr uint64_t kUsualSlice = 0;          // what the kernel gives who asks for nothing

// The kernel's struct sched_attr; its header and glibc's <sched.h> exclude each other.
struct SchedulingAttributes {
  uint32_t size;
  uint32_t policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime_ns;
  uint64_t deadline_ns;
  uint64_t period_ns;
};
static_assert(sizeof(SchedulingAttributes) == 48);  // its first version

// System calls only: a child may call it between fork and exec.
inline void AskForSlice(uint64_t slice_ns) {
  SchedulingAttributes attributes = {};
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0) return;
  attributes.runtime_ns = slice_ns;
  syscall(SYS_sched_setattr, 0, &attributes, 0);
}

}  // namespace millrace
