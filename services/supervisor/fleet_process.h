// What the fleet knows of each process, and of the place that it fills.
//
// Purpose: the records of fleet.h. Who may call: the supervisor's thread. Nothing fails.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "services/supervisor/hands.h"
#include "services/supervisor/lifecycle.h"
#include "services/supervisor/stage_storms.h"

namespace millrace {

// A log ring, and the pid that it is called by; no fd: there is none.
struct LogFd {
  SharedFd fd;
  uint32_t pid = 0;
};

struct FleetLane {
  uint32_t incarnation = 0;
  uint32_t lane = 0;
  SharedFd page, arena, wake, ledger;  // ledger: of ingress only
  SharedFd traces;                     // null: none yet
  uint64_t beat = 0;
  int64_t silent_ns = 0;
};

struct FleetProcess {
  uint32_t key = 0;
  Stage stage = Stage::kNone;
  uint32_t index = 0;
  ProcessState state = ProcessState::kStarting;
  std::vector<FleetLane> lanes;
  CpuList cpus;  // that it was pinned to; empty: to none
  int64_t started_ns = 0;
  int64_t state_since_ns = 0;
  int64_t ready_since_ns = 0;     // 0: never was
  int64_t kill_at_ns = 0;         // dying or stopping: SIGKILL then; 0: was sent
  uint64_t catalog_answered = 0;  // newest generation it has taken up
  // Ingress: newest generation it was told to route by; execution: that it was told is settled.
  uint64_t told_live = 0;
  StageBreakers told_breakers = {};  // ingress
  uint64_t routes_taken = 0;         // ingress: serial of the routes that it goes by
  bool drained = false;
  bool told_to_end = false;
  bool adopted = false;                      // and its registry may publish again what is known
  bool device_lost = false;                  // and counted so
  std::string condemned;                     // why it shall be ended; empty: nothing against it
  uint64_t bytes = 0;                        // of its shared memory
  std::optional<DeviceReport> device;        // execution: what it runs models on
  std::map<uint32_t, KernelChoice> kernels;  // execution: by route of the newest catalog
  std::vector<uint32_t> knew_it;             // dying: keys of those who must hear of its end
  std::vector<uint64_t> told_observe;        // observer: what it was told of last
  std::vector<uint64_t> told_traces;         // likewise
  std::vector<uint64_t> told_logs;           // likewise
  LogFd logs;
  std::string observing;  // observer: its address
};

// A place for one process: what outlives its incarnations.
struct FleetSlot {
  uint32_t key = 0;       // of the process that is alive and not dying; 0: none
  uint32_t failures = 0;  // in a row, of incarnations that proved nothing
  uint32_t restarts = 0;
  uint32_t device_losses = 0;  // in a row
  int64_t start_at_ns = 0;     // while key is 0
  bool tried = false;          // one was ready, or failed: the next group need not wait
  bool leaving = false;        // scaled away: not started again
  uint64_t bytes = 0;          // of its last process that announced
};

}  // namespace millrace
