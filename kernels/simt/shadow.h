// What is known of each byte of a block's shared memory: who wrote it and who read it, and when.
//
// Purpose: finds races and reads of uninitialised memory whatever order the threads happened to
//   run in.
// Who may call: the engine, under its lock.
// Invariants:
//   1. Two accesses are ordered when one thread makes both, when a __syncthreads lies between, or
//      when the later one's warp clocks have seen the earlier (LaneClocks). Else they are
//      concurrent, and a race unless both read or both are atomic.
//   2. An access costs the same however many came before. The price: of the readers of a byte since
//      the last barrier three are kept (two of one warp, one of another). That is enough to catch
//      any write of another warp; inside a warp a race with a third reader can hide, under some
//      seeds, where __syncwarp with partial masks ordered the other two; and of several lanes'
//      atomics the last alone is remembered.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace millrace::simt {

constexpr unsigned kWarpSize = 32;
constexpr unsigned kMaxThreads = 1024;

enum class Access : std::uint8_t { kRead, kWrite, kAtomic };

// For each lane of its warp the newest moment that a lane has been ordered behind.
struct LaneClocks {
  std::array<std::uint32_t, kWarpSize> seen{};
};

struct Conflict {
  enum Kind : std::uint8_t { kNone, kUninitialized, kRace } kind = kNone;
  std::uint16_t other = 0;  // the thread that raced with this one
  bool other_wrote = false;
  std::uint32_t byte = 0;
};

class Shadow {
 public:
  explicit Shadow(std::size_t bytes);
  ~Shadow();
  Shadow(const Shadow&) = delete;
  Shadow& operator=(const Shadow&) = delete;

  // A new block: nothing is written.
  void BeginBlock();
  // All threads met: what was done before is ordered before what comes.
  void Barrier() { ++epoch_; }

  // The first thing wrong with the access, which is recorded either way.
  Conflict OnAccess(std::size_t offset, std::size_t bytes, Access access, std::uint16_t thread,
                    const LaneClocks& clocks);

 private:
  struct Cell {
    std::uint32_t epoch;       // the accesses below were made in this one
    std::uint32_t init_block;  // the last block that wrote the byte
    std::uint32_t write_clock;
    std::uint32_t read_clock[3];
    std::uint16_t writer;     // kNobody, or a thread with flags
    std::uint16_t reader[3];  // [0] and [1] of one warp, [2] of another
  };

  static bool Ordered(std::uint16_t other, std::uint32_t clock, std::uint16_t thread,
                      const LaneClocks& clocks);
  static void Check(const Cell& cell, Access access, std::uint16_t thread, const LaneClocks& clocks,
                    Conflict* conflict);
  static void Record(Cell* cell, Access access, std::uint16_t thread, const LaneClocks& clocks);
  static void RecordRead(Cell* cell, std::uint16_t thread, const LaneClocks& clocks);

  Cell* cells_;
  std::size_t count_;
  std::uint32_t epoch_ = 0;
  std::uint32_t block_ = 0;
};

}  // namespace millrace::simt
