#include "kernels/simt/shadow.h"

#include <sys/mman.h>

#include <cstring>

#include "common/check.h"

namespace millrace::simt {
namespace {

constexpr std::uint16_t kNobody = 0xffff;
constexpr std::uint16_t kThread = 0x3ff;
constexpr std::uint16_t kAtomicFlag = 0x8000;
// Atomics of several warps: whoever comes with a plain access races with one of them.
constexpr std::uint16_t kManyFlag = 0x4000;

unsigned WarpOf(std::uint16_t thread) { return thread / kWarpSize; }
unsigned LaneOf(std::uint16_t thread) { return thread % kWarpSize; }

}  // namespace

Shadow::Shadow(std::size_t bytes) : count_(bytes) {
  // Mapped, so that only cells that are used cost memory; zero is a cell of no block.
  void* cells = mmap(nullptr, bytes * sizeof(Cell), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  MR_CHECK(cells != MAP_FAILED, "there is address space for the shadow of shared memory");
  cells_ = static_cast<Cell*>(cells);
}

Shadow::~Shadow() { munmap(cells_, count_ * sizeof(Cell)); }

void Shadow::BeginBlock() {
  if (epoch_ > 0xf0000000u) {
    std::memset(cells_, 0, count_ * sizeof(Cell));
    epoch_ = 0;
    block_ = 0;
  }
  ++epoch_;
  ++block_;
}

bool Shadow::Ordered(std::uint16_t other, std::uint32_t clock, std::uint16_t thread,
                     const LaneClocks& clocks) {
  if (other == thread) return true;
  if (WarpOf(other) != WarpOf(thread)) return false;
  return clocks.seen[LaneOf(other)] >= clock;
}

void Shadow::Check(const Cell& cell, Access access, std::uint16_t thread, const LaneClocks& clocks,
                   Conflict* conflict) {
  if (cell.writer != kNobody) {
    const std::uint16_t other = cell.writer & kThread;
    const bool both_atomic = access == Access::kAtomic && (cell.writer & kAtomicFlag) != 0;
    const bool many = (cell.writer & kManyFlag) != 0;
    if (!both_atomic && (many || !Ordered(other, cell.write_clock, thread, clocks))) {
      *conflict = {Conflict::kRace, other, true, 0};
      return;
    }
  }
  if (access == Access::kRead) return;
  for (int i = 0; i < 3; ++i) {
    if (cell.reader[i] == kNobody) continue;
    if (Ordered(cell.reader[i], cell.read_clock[i], thread, clocks)) continue;
    *conflict = {Conflict::kRace, cell.reader[i], false, 0};
    return;
  }
}

void Shadow::RecordRead(Cell* cell, std::uint16_t thread, const LaneClocks& clocks) {
  int slot = 0;
  const auto empty = [&](int i) { return cell->reader[i] == kNobody; };
  const auto same = [&](int i) { return cell->reader[i] == thread; };
  if (empty(0) || same(0)) {
    slot = 0;
  } else if (WarpOf(cell->reader[0]) != WarpOf(thread)) {
    slot = 2;
  } else if (empty(1) || same(1)) {
    slot = 1;
  } else {
    // The one that this read is ordered behind is not missed: who races with it races with us.
    slot = Ordered(cell->reader[1], cell->read_clock[1], thread, clocks) ? 1 : 0;
  }
  cell->reader[slot] = thread;
  cell->read_clock[slot] = clocks.seen[LaneOf(thread)];
}

void Shadow::Record(Cell* cell, Access access, std::uint16_t thread, const LaneClocks& clocks) {
  if (access == Access::kRead) {
    RecordRead(cell, thread, clocks);
    return;
  }
  std::uint16_t writer = thread;
  if (access == Access::kAtomic) {
    writer |= kAtomicFlag;
    if (cell->writer != kNobody && (cell->writer & kAtomicFlag) != 0 &&
        ((cell->writer & kManyFlag) != 0 || WarpOf(cell->writer & kThread) != WarpOf(thread))) {
      writer |= kManyFlag;
    }
  }
  cell->writer = writer;
  cell->write_clock = clocks.seen[LaneOf(thread)];
}

Conflict Shadow::OnAccess(std::size_t offset, std::size_t bytes, Access access,
                          std::uint16_t thread, const LaneClocks& clocks) {
  Conflict first;
  for (std::size_t i = offset; i < offset + bytes; ++i) {
    Cell& cell = cells_[i];
    if (cell.epoch != epoch_) {
      cell.epoch = epoch_;
      cell.writer = kNobody;
      cell.reader[0] = cell.reader[1] = cell.reader[2] = kNobody;
    }
    if (first.kind == Conflict::kNone) {
      Check(cell, access, thread, clocks, &first);
      if (first.kind == Conflict::kNone && access != Access::kWrite && cell.init_block != block_) {
        first.kind = Conflict::kUninitialized;
      }
      first.byte = static_cast<std::uint32_t>(i - offset);
    }
    Record(&cell, access, thread, clocks);
    if (access != Access::kRead) cell.init_block = block_;
  }
  return first;
}

}  // namespace millrace::simt
