// The runs of the pair bench: which cells there are, and what their runs showed.
//
// Purpose: every subject at every size, in many short runs, in random order, so that what else the
//   machine does hits all alike. Who may call: the driver. Ownership: each run has processes and
//   memory of its own; nothing of it is left. Invariants:
//   1. A figure is the median over the kept runs of a cell; ratios are made run by run.
//   2. A run whose floor probes differ, or whose processes did not end, is repeated a bounded
//   number
//      of times; wrong bytes are an error of the whole bench.
// What fails: a subject that cannot carry a size has no cell (Refused says why).
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tools/bench/ipc_bench/pair.h"
#include "tools/bench/ipc_bench/stats.h"

namespace millrace::bench {

struct SubjectEntry {
  std::string name;
  std::function<const char*(size_t bytes)> refusal;
  std::function<std::unique_ptr<Pair>(size_t bytes)> make;
};
const std::vector<SubjectEntry>& AllSubjects();

struct SizeCase {
  const char* name;
  size_t bytes;
};
inline constexpr SizeCase kSizes[] = {
    {"inline", 32}, {"64 B", 64}, {"1 KiB", 1 << 10}, {"16 KiB", 16 << 10}, {"256 KiB", 256 << 10}};

struct RunOptions {
  int cpus[2] = {0, 1};
  int64_t run_ms = 30;
  uint64_t max_count = kMaxSamples;
  uint64_t bounces = kFloorBounces;
  bool first = false;  // real-time priority
  int tries = 6;
  double tolerance = kFloorTolerance;
  bool plant = false;  // expect other bytes than are sent, for the test of the checks
};

// What one run showed. Times in ns, one way.
struct RunResult {
  double floor_before = 0, floor_after = 0;  // the faster form
  double floor = 0, unpaused_floor = 0;      // means of before and after
  uint64_t wrong = 0;
  Percentiles latency_ns;
  double stream_ns = 0;  // each message
};

struct Cell {
  const SubjectEntry* subject;
  SizeCase size;
  Mode mode;
  std::vector<RunResult> runs;
  int64_t dropped = 0;

  // The median over the runs.
  double Over(const std::function<double(const RunResult&)>& figure) const;
};

// One run in two new processes; nothing where they did not end in time or with an error.
std::optional<RunResult> RunOnce(const SubjectEntry& subject, size_t bytes, Mode mode,
                                 const RunOptions& options);

// `rounds` rounds over all cells, each in another order.
void RunAll(int rounds, uint64_t seed, const RunOptions& options, std::vector<Cell>* cells);

}  // namespace millrace::bench
