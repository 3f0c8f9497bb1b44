// What the shim found wrong with a kernel, and how its runs are shuffled.
//
// Purpose: every check of the shim ends in a Report. By default it is printed and the process
//   aborts; a test that plants a fault collects reports instead.
// Who may call: any thread; options and handler are read when a launch begins, under the lock that
//   every launch takes, so they are set while nothing runs.
// Invariants:
//   1. A launch with a report is never taken for a good one: its stream gets a sticky error.
//   2. Equal options and equal inputs give equal runs.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/simt/vector_types.h"

namespace millrace::simt {

enum class Check {
  kDivergentBarrier,  // threads of a block at __syncthreads, others gone or waiting elsewhere
  kMissingLane,       // a warp collective waits for a lane that waits elsewhere
  kExitedLane,        // a mask names a lane that has exited, or that the block does not have
  kOwnLane,           // a lane calls a collective with a mask that does not name it
  kShuffleSource,     // a shuffle reads a lane that the mask does not name
  kOutOfRange,        // an access outside its shared array
  kMisaligned,        // a shared access that is not aligned to its type
  kUninitialized,     // a read of shared memory that this block never wrote
  kRace,              // two threads, one byte, one of them writes, no barrier between
  kHostPointer,       // a pointer argument that the device cannot see
  kNoProgress,        // every thread sleeps, and nothing can wake them
  kSharedLimit,       // more shared memory than the launch may have
  kTrap,              // __trap()
};
constexpr int kChecks = static_cast<int>(Check::kTrap) + 1;

const char* CheckName(Check check);

struct Report {
  Check check = Check::kTrap;
  std::string kernel;
  uint3 block{};
  uint3 thread{};
  std::string sentence;
};

std::string ToString(const Report& report);

struct Options {
  // 0: lanes and blocks in order. 1: in reverse order. Other: shuffled by it.
  std::uint64_t seed = 2;
  // A thread is switched away at one in about so many accesses of shared memory; 0: never.
  std::uint32_t switch_one_in = 8;
  // Off: neither races nor reads of uninitialised shared memory are looked for.
  bool shadow = true;
  // CUDA: votes and shuffles order no memory, __syncwarp does. True: they are taken to.
  bool collectives_order_memory = false;
};

void SetOptions(const Options& options);
Options GetOptions();

// Called in the thread that runs the grid, on a fibre's stack; must not throw nor launch.
using ReportHandler = std::function<void(const Report&)>;

// An empty handler prints and aborts.
void SetReportHandler(ReportHandler handler);

// Gathers reports instead of aborting, as long as it lives.
class ReportCollector {
 public:
  ReportCollector();
  ~ReportCollector();
  ReportCollector(const ReportCollector&) = delete;
  ReportCollector& operator=(const ReportCollector&) = delete;

  const std::vector<Report>& reports() const { return reports_; }
  int Count(Check check) const;
  void Clear() { reports_.clear(); }

 private:
  std::vector<Report> reports_;
};

// For the engine: hands a report to the handler.
void Deliver(const Report& report);

}  // namespace millrace::simt
