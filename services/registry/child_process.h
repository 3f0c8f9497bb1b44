// Runs a program to its end, with only the descriptors it is given, for a limited time.
//
// Purpose: throw-away children that handle untrusted files.
// Who may call: one thread at a time in a process (descriptors above 4 are closed in the child, so
//   what others open meanwhile does not leak into it).
// Invariants:
//   1. The child has /dev/null as input, pipes as output and error, and `fds` as 3, 4, ...: no
//      other descriptor, no environment, signals at their defaults, a process group of its own.
//   2. When RunChild returns, the child and what was left of its group are dead and reaped.
//   3. No more than `max_output` bytes of each stream are kept; the rest is read and dropped.
// What fails: NOT_FOUND where the program cannot be started (its path is not named),
//   RESOURCE_EXHAUSTED for what it needs. How the child ended is a result, not a failure.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace millrace {

struct ChildRequest {
  std::string program;
  std::vector<std::string> arguments;  // without the program's own name
  std::vector<int> fds;
  int64_t timeout_ns = 0;
  size_t max_output = 64 * 1024;
  std::vector<int> cpus;  // that it may use; empty: as its parent
  bool background =
      false;  // it runs when nobody else wants the core; a little, after half its time
};

struct ChildResult {
  bool timed_out = false;
  int exit_code = -1;  // of one that exited
  int signal = 0;      // of one that was killed
  std::string output;
  std::string errors;
};

absl::StatusOr<ChildResult> RunChild(const ChildRequest& request);

}  // namespace millrace
