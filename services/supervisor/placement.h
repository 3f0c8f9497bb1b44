// Where a stage's processes run and as whom, beside their CPUs: user, real-time priority, NUMA
// node, memory limit.
//
// Purpose: check what the configuration asks of this machine before anything starts, and put a
// child
//   there between fork and exec. Who may call: Make, the supervisor's main thread; Apply, the child
//   of a fork (system calls only). Ownership: a Placer keeps the descriptors of the control groups
//   it made; the groups stay until the server's own group goes.
// Invariants:
//   1. What Make accepted, Apply does; where the machine has changed since and it cannot, the child
//      ends with kExitPlacement and is started again later, as after any death.
//   2. A group is joined before the program starts, so that all of its memory is counted.
//   3. The user is changed last: everything else needs the supervisor's rights.
// What fails: Make, with a sentence for each field that this machine cannot give.
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/config.h"
#include "ipc/fd.h"
#include "ipc/topology.h"

namespace millrace {

// What one child needs; plain numbers, so that a child of a process with threads may read it.
struct ChildPlacement {
  bool has_user = false;
  uid_t uid = 0;
  gid_t gid = 0;
  int fifo_priority = 0;      // of SCHED_FIFO; 0: the usual scheduler
  int numa_node = -1;         // that memory comes from while it has some; -1: any
  int group_fd = -1;          // cgroup.procs of its control group; -1: ours
  bool samples_heap = false;  // it gets an allocator that does
};

// Where the kernel tells of itself; a test has its own.
struct PlacementRoots {
  std::string groups = "/sys/fs/cgroup";
  std::string own_group = "/proc/self/cgroup";
  std::string nodes = "/sys/devices/system/node";
  std::string huge_pages = "/sys/kernel/mm/hugepages/hugepages-2048kB";
};

class Placer {
 public:
  // Every fault at once, each naming its field; empty: `placer` may be used.
  struct Made {
    std::unique_ptr<Placer> placer;
    std::vector<std::string> faults;
  };
  // `pipeline`: of two that stand beside each other each has groups of its own.
  static Made Make(const Config& config, const PlacementRoots& roots = {}, uint32_t pipeline = 0);
  // Only the faults: nothing is made or changed.
  static std::vector<std::string> Check(const Config& config, const PlacementRoots& roots = {});

  const ChildPlacement& For(Stage stage) const { return places_[static_cast<size_t>(stage)]; }

 private:
  Placer() = default;
  // Makes a control group for each stage that has a limit.
  absl::Status MakeGroups(const Config& config, const PlacementRoots& roots, uint32_t pipeline);

  std::array<ChildPlacement, kStageCount> places_;
  std::vector<Fd> groups_;
};

// In a child, before exec. False: it could not be done.
bool Apply(const ChildPlacement& place);

// Whether every stage has a user of its own, none of them root: then a stage that is taken over
// reaches no other.
bool UsersAreSeparate(const Config& config);

}  // namespace millrace
