// Takes from this process everything that compiling a model does not need.
//
// Purpose: a model file is hostile until it is compiled. The child that parses it can read the
//   model, write the plan and its report, manage memory and exit: nothing else.
// Who may call: the compiler's main thread, once, before it reads a byte of the model and before
//   any other thread exists.
// Invariants: after success there is no way back. 1. A call outside the list kills the process with
//   SIGSYS; too much processor time kills it with SIGXCPU; too much memory fails an allocation.
//   2. It ends with the thread that started it. 3. Memory is never executable, and never that of a
//   descriptor.
// Fails: Internal, where the kernel refuses a limit or the filter; the caller must not go on.
#pragma once

#include <cstdint>

#include "absl/status/status.h"

namespace millrace {

struct SandboxLimits {
  int model_fd;
  int plan_fd;
  uint64_t max_memory_bytes;  // address space; also the greatest size of the plan
  uint64_t max_cpu_s;
  bool yields = false;  // it may do so at an alarm (pace.h)
};

absl::Status EnterSandbox(const SandboxLimits& limits);

}  // namespace millrace
