// An arena: the payload blocks of one lane, written and managed by it alone.
//
// Purpose: memory for what a lane sends. Peers map it read-only and never free; they return blocks
//   through their half of the link. Who may call: the owning lane. Ownership: the book-keeping is
//   in private memory, so that no peer can see or break it, and a crash needs no repair.
// Invariants:
//   1. Each size class has a fixed place and count (ArenaShape::For), so that nothing fragments:
//      whoever stays within the windows that admission grants cannot fail to allocate.
//   2. Free lists are LIFO: few blocks stay hot.
//   3. A block is free exactly when its references are 0; Release of a free block aborts.
// What fails: Create (no memory); Allocate gives nothing where the class is used up.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ipc/memfd.h"
#include "ipc/message.h"

namespace millrace {

inline constexpr RegionType kArenaType = {RegionKind::kArena, LayoutHash({sizeof(RegionHeader)})};

// Block sizes are 256 bytes times powers of four, and `max_block` at the end.
struct ArenaShape {
  struct Class {
    uint32_t block_bytes;
    uint32_t count;
  };
  std::vector<Class> classes;

  // For `lanes` partners, each with at most `requests` blocks out at a time, of at most
  // `window_bytes` together (counted in BlockBytes). Count of a class, for each partner:
  // min(requests, window_bytes / block_bytes), since a window can be spent on one class alone.
  static ArenaShape For(size_t lanes, size_t requests, size_t window_bytes, size_t max_block);

  // Bytes of the class that holds `length`; 0 if none does.
  uint32_t BlockBytes(size_t length) const;
  size_t TotalBytes() const;
};

// A block, or none: an optional that a call returns in a register. std::optional is made in memory
// of pieces, and whoever reads it whole waits for them (ipc/copy_pieces.h).
class MaybeBlock {
 public:
  MaybeBlock() = default;
  MaybeBlock(const BlockRef& block) : block_(block) {}  // NOLINT: as an optional
  bool has_value() const { return block_.length > 0; }
  const BlockRef& operator*() const { return block_; }
  const BlockRef* operator->() const { return &block_; }

 private:
  BlockRef block_;
};

class Arena {
 public:
  // Blocks start behind the header, on a line of their own.
  static constexpr uint32_t kFirstOffset = kLineBytes;

  static absl::StatusOr<Arena> Create(uint32_t incarnation, ArenaShape shape,
                                      const RegionOptions& options = {});

  // A block of at least `length` bytes with one reference. `tag` comes back with its release.
  MaybeBlock Allocate(size_t length, uint64_t tag = 0);
  void AddReference(uint32_t offset);
  // Whether this was the last reference, and the block is free again; its tag, if it is asked for.
  bool Release(uint32_t offset, uint64_t* tag = nullptr);

  // A block of ours starts at `offset` and is taken.
  bool IsTaken(uint32_t offset) const;

  std::byte* At(uint32_t offset) const { return region_.bytes() + offset; }
  size_t taken() const { return taken_; }
  const Region& region() const { return region_; }
  const ArenaShape& shape() const { return shape_; }

 private:
  struct Block {
    uint32_t references = 0;
    uint64_t tag = 0;
  };
  struct Pool {
    uint32_t block_bytes = 0;
    uint32_t shift = 0;  // block_bytes as a power of two; 0: it is none
    uint32_t first_offset = 0;
    std::vector<Block> blocks;
    std::vector<uint32_t> free;  // indices, last in first out
  };

  Block* Find(uint32_t offset, Pool** pool, uint32_t* index);
  Region region_;
  ArenaShape shape_;
  std::vector<Pool> pools_;
  size_t taken_ = 0;
};

// The view of a peer's arena: bounds are checked against the sealed size.
class ArenaView {
 public:
  static constexpr uint32_t kPrefetchBytes = 256;
  static absl::StatusOr<ArenaView> Open(int fd, uint32_t incarnation,
                                        Entering entering = Entering::kNow);
  // The bytes of a block, or nothing where it does not lie inside.
  std::optional<absl::Span<const std::byte>> Get(BlockRef block) const {
    const uint64_t end = uint64_t{block.offset} + block.length;
    if (block.offset < Arena::kFirstOffset || end > region_.size()) return std::nullopt;
    return absl::Span<const std::byte>(region_.bytes() + block.offset, block.length);
  }
  // Asks the processor for a block's first lines: they come while something else is done.
  void Prefetch(const BlockRef& block) const {
    const uint64_t end =
        std::min(uint64_t{block.offset} + std::min(block.length, kPrefetchBytes), region_.size());
    for (uint64_t at = block.offset; at < end; at += 64) __builtin_prefetch(region_.bytes() + at);
  }
  const Region& region() const { return region_; }
  // The whole mapping.
  absl::Span<const std::byte> all() const { return {region_.bytes(), region_.size()}; }

 private:
  Region region_;
};

}  // namespace millrace
