// The chain's cases, in interleaved rounds, and their table.
//
// Purpose: our links beside a queue under a lock, and beside ours that parks at once: five
//   processes on however few cores the machine has. Who may call: the bench's main thread.
// Invariants:
//   1. A round visits all subjects in a random order; a figure is the median over the rounds.
//   2. Processes that are not the bench's disturb: a round's figures count only if it is one of
//      the least disturbed, and how much those were disturbed is told.
//   3. Every answer of every round was checked.
// What fails: a chain that cannot start ends the bench; wrong answers are counted.
#pragma once

#include <stdint.h>

#include <string>
#include <vector>

#include "tools/bench/ipc_bench/report.h"

namespace millrace::bench {

struct ChainOptions {
  int rounds = 9;
  int64_t round_ms = 200;
  int64_t patience_s = 60;  // to wait for calm, all cases together
  std::string only;         // cases whose name holds this; empty: all
};

// Prints a table for each case, and adds the rows. How many answers were wrong.
uint64_t RunChainBench(const ChainOptions& options, std::vector<Row>* rows);

}  // namespace millrace::bench
