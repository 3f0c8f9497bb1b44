// Samples of this process's stacks: where its CPU time goes, and what holds its heap.
//
// Purpose: a profile on demand, of a process that serves meanwhile. While none is taken it costs
//   nothing. Who may call: Begin any thread; a process has one Profiler (the sampler is the
//   process's own). Ownership: what is begun owns itself until `done` was called.
// Invariants: 1. One profile at a time. 2. Lanes are interrupted by SIGPROF for some microseconds a
//   sample, a hundred a second of CPU time; names are looked up on a thread of its own, which
//   yields to everything else of the process.
// What fails: Begin with FAILED_PRECONDITION while one is taken; `done` gets RESOURCE_EXHAUSTED
//   without memory.
#pragma once

#include <stdint.h>

#include <functional>

#include "absl/status/statusor.h"
#include "ipc/fd.h"

namespace millrace {

class Profiler {
 public:
  static constexpr int64_t kMostMs = 300'000;

  // `done`, on another thread, once: a memfd that holds a Profile (common/profile.proto).
  static absl::Status Begin(int64_t duration_ms, std::function<void(absl::StatusOr<Fd>)> done);
  // Likewise, of what holds the heap now. FAILED_PRECONDITION, too, where no allocator samples it:
  // it was not started with one (<stage>.heap_profile).
  static absl::Status BeginHeap(std::function<void(absl::StatusOr<Fd>)> done);

 private:
  static absl::Status BeginAny(std::function<absl::StatusOr<Fd>()> take,
                               std::function<void(absl::StatusOr<Fd>)> done);
};

}  // namespace millrace
