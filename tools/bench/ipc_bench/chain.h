// Five processes in a ring: a source of requests, four stages, and the source again as the sink.
//
// Purpose: the same chain over every way to pass a message on, for measurement and for its test.
// Who may call: one thread of a program that has no other. Ownership: a Chain owns its five child
//   processes and ends them by pid; they also end when the program ends, however it does.
// Invariants:
//   1. The sink compares every answer: order, content and the marks of all four stages.
//   2. A chain that is not asked to run sleeps: its processes use no core beside another's round.
//   3. All subjects share this duty cycle: take up to kDrain, work on each, publish, wake once.
// What fails: Start where a process cannot be made; a run whose answers stop coming for kLostNs
//   counts what is missing as wrong and the chain is not to be used again.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "ipc/fd.h"
#include "tools/bench/ipc_bench/child.h"
#include "tools/bench/ipc_bench/machine.h"

namespace millrace::bench {

enum class ChainSubject {
  kEmpty,         // five processes that do nothing: the baseline of memory
  kMillrace,      // links of ipc/, waiting as WaitMode::kYield says
  kMillracePark,  // the same, parking at once
  kMutexCond,     // bounded queues under an interprocess mutex and two conditions, by message
  kMutexBatch,    // the same, a batch taken and published under one lock
};
const char* ChainSubjectName(ChainSubject subject);

// What a stage of the test does wrong with every 64th message.
enum class ChainFault : uint32_t { kNone, kChange, kSkipMark, kSwap, kRepeat, kLose };

struct ChainLoad {
  int in_flight = 1;
  uint32_t work_loops = 0;  // for each stage and message
  uint64_t requests = 0;    // to measure; 0: until run_ns is over
  int64_t warm_ns = 0;      // before measuring
  int64_t run_ns = 0;
};

struct ChainRound {
  uint64_t measured = 0;  // answers counted in the figures below
  uint64_t answers = 0;   // all, with those of the warm-up
  uint64_t wrong = 0;     // answers that were not what had to come, and lost ones
  double p50_ns = 0, p99_ns = 0, requests_per_s = 0;
  double cpu_ns_per_request = 0, cores = 0;                   // of the five processes
  double parks = 0, yields = 0, switches = 0, preempted = 0;  // for each request, of all five
  uint64_t hogs = 0, rescues = 0;
};

// In bytes; sums over the five, so that a page that two of them map counts twice in the last two.
struct ChainMemory {
  size_t shared = 0;   // what the transport made, once
  size_t written = 0;  // resident but for the program's text: private and shared memory
  size_t peak = 0;     // resident at most, with text
};

class Chain {
 public:
  static constexpr int64_t kLostNs = 5'000'000'000;

  // `fault_stage` 1 to 4 does what `fault` says.
  static absl::StatusOr<std::unique_ptr<Chain>> Start(ChainSubject subject,
                                                      ChainFault fault = ChainFault::kNone,
                                                      int fault_stage = 2);
  ~Chain();
  Chain(const Chain&) = delete;
  Chain& operator=(const Chain&) = delete;

  ChainRound Run(const ChainLoad& load);
  ChainMemory Memory() const;
  int64_t CpuNs() const;  // used by the five so far
  pid_t pid(int process) const { return children_[static_cast<size_t>(process)].pid(); }

 private:
  Chain() = default;

  struct Shared;
  Shared* shared() const;

  std::optional<SharedArea> shared_;
  Fd command_, answer_;
  std::vector<Child> children_;
};

}  // namespace millrace::bench
