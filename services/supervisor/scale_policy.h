// Whether a stage may be scaled to a number of processes.
//
// Purpose: refuse, with a sentence, what the machine or the tables have no room for, before
//   anything is started. Who may call: any thread; a pure function.
// Invariants: 1. the memory budget counts two incarnations of each process, since a new one lives
//   beside the dying old one. 2. Going down is never refused for lack of room.
#pragma once

#include <stdint.h>

#include "absl/status/status.h"
#include "ipc/topology.h"

namespace millrace {

struct ScaleLook {
  Stage stage = Stage::kNone;
  int64_t wanted = 0;
  int64_t most = 0;  // processes that it may have (MostProcesses)
  uint32_t now = 0;  // processes of the stage that are wanted now
  uint32_t lanes_each = 1;
  uint32_t lanes_of_all = 0;  // lanes wanted now, of all stages
  uint64_t bytes_of_all = 0;  // shared memory, one incarnation of each process, without plans
  uint64_t bytes_each = 0;    // of one process of the stage
  uint64_t plan_bytes = 0;
  uint64_t budget_bytes = 0;
};

absl::Status CheckScale(const ScaleLook& look);

}  // namespace millrace
