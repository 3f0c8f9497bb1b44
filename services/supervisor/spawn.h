// Starting a program of ours as a child.
//
// Purpose: fork and exec with the control socket as descriptor 3, standard error kept, and nothing
//   else inherited. Who may call: the supervisor's main thread. Ownership: the caller gets the
//   pidfd and reaps the child through it.
// Invariants: 1. the child starts with default signal handling and nothing blocked. 2. It cannot
//   gain privileges (no_new_privs). 3. PR_SET_PDEATHSIG is not used: it fires when the starting
//   *thread* ends, and the keeper ends what a dead supervisor leaves.
//   4. Nobody waits for the exec: on a busy machine that takes milliseconds in which a death would
//   not be seen. A program that cannot be run ends with kExitBinary.
//   5. `place` is applied before the program starts; where it cannot be, the child ends with
//   kExitPlacement. 6. Where none of `cpus` is left since the start they were checked at, it runs
//   on ours: serving
//      goes before pinning.
// What fails: RESOURCE_EXHAUSTED where there is no room for another process.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/cpu_list.h"
#include "ipc/fd.h"
#include "services/supervisor/placement.h"

namespace millrace {

struct Child {
  pid_t pid = 0;
  Fd pidfd;
};

// `cpus`: the only ones it may use; empty: ours.
absl::StatusOr<Child> SpawnChild(const std::vector<std::string>& argv, Fd control,
                                 const CpuList& cpus, const ChildPlacement& place = {});

}  // namespace millrace
