// Whether the machine's memory holds a second pipeline beside the present one.
//
// Purpose: an upgrade is refused before anything is started, in one sentence with figures.
// Who may call: any thread; CheckRoom is pure, the rest reads /proc and the control groups.
// Invariants: 1. the new build is taken to need what the present one uses; 2. of the limits that
//   are known each one must leave that much; what cannot be read limits nothing.
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace millrace {

// What the present pipeline uses.
struct RoomUse {
  uint64_t shared_bytes = 0;   // its lanes' memory
  uint64_t plan_bytes = 0;     // its models
  uint64_t private_bytes = 0;  // of its processes
};

struct RoomLeft {
  std::optional<uint64_t> machine_bytes;  // MemAvailable
  std::optional<uint64_t> group_bytes;    // of the narrowest control group
  std::string group;                      // its name
  uint64_t budget_bytes = 0;              // supervisor.memory_budget_mb, shared memory alone
};

absl::Status CheckRoom(const RoomUse& use, const RoomLeft& left);

// Anonymous memory of these processes, together; one that cannot be read counts nothing.
uint64_t PrivateBytes(const std::string& proc, const std::vector<pid_t>& pids);
// `proc`: "/proc", `groups`: "/sys/fs/cgroup" (version 2), but for a test.
RoomLeft LookForRoom(const std::string& proc, const std::string& groups);

}  // namespace millrace
