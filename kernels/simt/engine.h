// Runs a grid on the calling thread, one block after another, and holds it to CUDA's rules.
//
// Purpose: the middle of the shim. Each thread of a block is a fibre; fibres change places at
//   barriers, at warp collectives and, now and then, at accesses of shared memory; who comes next
//   is drawn by the seed.
// Who may call: RunGrid any thread (grids run one at a time, process-wide); everything else only
//   from inside a kernel, by way of device.h, shared.h and atomics.h.
// Ownership: the engine owns stacks, shared memory and its shadow, and keeps them between launches.
// Invariants:
//   1. All threads of a block live on one OS thread.
//   2. A block that cannot go on is reported and abandoned: objects on its stacks are not
//   destroyed,
//      so kernels own nothing (device code seldom could).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <string>

#include "kernels/simt/report.h"
#include "kernels/simt/shadow.h"
#include "kernels/simt/vector_types.h"

namespace millrace::simt {

// Compute capability 9.0: what a block can have, and what it has without asking for more.
constexpr std::size_t kMaxSharedBytes = 227 * 1024;
constexpr std::size_t kDefaultSharedBytes = 48 * 1024;

struct GridCall {
  const char* name = "";
  dim3 grid;
  dim3 block;
  std::size_t dynamic_shared_bytes = 0;
  std::size_t shared_limit_bytes = kDefaultSharedBytes;
  std::function<void()> body;  // one thread's work
};

struct GridResult {
  int reports = 0;
  bool illegal_address = false;  // of the reports, those that a device calls so
  bool misaligned = false;
  std::size_t static_shared_bytes = 0;
  std::uint64_t switches = 0;
};

GridResult RunGrid(const GridCall& call);

// Why a thread waits.
enum class Op : std::uint8_t {
  kBarrier,
  kSyncWarp,
  kBallot,
  kShuffle,
  kShuffleUp,
  kShuffleDown,
  kShuffleXor,
  kMatchAny,
  kReduceAdd,
  kReduceMin,
  kReduceMax,
  kReduceMinSigned,
  kReduceMaxSigned,
  kReduceAnd,
  kReduceOr,
  kReduceXor,
};

struct Wait {
  Op op = Op::kBarrier;
  std::uint32_t mask = 0;
  std::uint64_t value = 0;   // what the lane brings, then what it takes away
  std::int32_t operand = 0;  // the lane or distance of a shuffle
  std::int32_t width = 32;
  std::source_location site;
};

// What a kernel sees of the thread that it is.
struct ThreadView {
  uint3 thread{};
  uint3 block{};
  dim3 block_size;
  dim3 grid_size;
};
inline constinit thread_local ThreadView* current_thread = nullptr;

enum class BarrierFold : std::uint8_t { kNone, kCount, kAnd, kOr };

std::uint32_t Barrier(BarrierFold fold, bool predicate, const std::source_location& site);
std::uint64_t Collective(const Wait& wait);
std::uint32_t LiveLanes();
unsigned LaneIndex();
// Others may run here.
void SwitchPoint();
void Sleep();
[[noreturn]] void Trap(const std::source_location& site);

// A static shared array of a kernel: one object for each declaration.
struct SharedSite {
  const char* name;
  explicit constexpr SharedSite(const char* site_name) : name(site_name) {}
};

struct SharedRange {
  char* begin = nullptr;
  char* end = nullptr;
};

SharedRange DeclareSharedBytes(const SharedSite& site, std::size_t bytes, std::size_t alignment);
SharedRange DynamicSharedBytes(const char* name);

// True if the access may be made. False: it was reported; a read gives zeros, a write goes nowhere.
bool OnSharedAccess(const char* at, std::size_t bytes, std::size_t alignment,
                    const SharedRange& range, Access access);

}  // namespace millrace::simt
