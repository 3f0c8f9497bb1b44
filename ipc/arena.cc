#include "ipc/arena.h"

#include <algorithm>
#include <bit>

#include "common/check.h"

namespace millrace {
namespace {

constexpr uint32_t kSmallestBlock = 256;
constexpr uint32_t kGrowth = 4;

uint32_t RoundUp(size_t n, size_t to) { return static_cast<uint32_t>((n + to - 1) / to * to); }

}  // namespace

ArenaShape ArenaShape::For(size_t lanes, size_t requests, size_t window_bytes, size_t max_block) {
  ArenaShape shape;
  const uint32_t largest = RoundUp(std::max<size_t>(max_block, kSmallestBlock), kLineBytes);
  MR_CHECK(window_bytes >= largest, "a window must hold the largest block");
  for (uint32_t bytes = kSmallestBlock;; bytes *= kGrowth) {
    bytes = std::min(bytes, largest);
    const size_t count = lanes * std::min(requests, window_bytes / bytes);
    shape.classes.push_back({bytes, static_cast<uint32_t>(count)});
    if (bytes == largest) return shape;
  }
}

uint32_t ArenaShape::BlockBytes(size_t length) const {
  for (const Class& c : classes) {
    if (length <= c.block_bytes) return c.block_bytes;
  }
  return 0;
}

size_t ArenaShape::TotalBytes() const {
  size_t total = Arena::kFirstOffset;
  for (const Class& c : classes) total += size_t{c.block_bytes} * c.count;
  return total;
}

absl::StatusOr<Arena> Arena::Create(uint32_t incarnation, ArenaShape shape,
                                    const RegionOptions& options) {
  if (shape.TotalBytes() > UINT32_MAX) {
    return absl::InvalidArgumentError("an arena cannot be over 4 GiB");
  }
  absl::StatusOr<Region> region =
      Region::Create(kArenaType, incarnation, shape.TotalBytes(), options);
  if (!region.ok()) return region.status();
  Arena arena;
  arena.region_ = std::move(*region);
  uint32_t offset = Arena::kFirstOffset;
  for (const ArenaShape::Class& c : shape.classes) {
    Pool pool;
    pool.block_bytes = c.block_bytes;
    pool.shift = std::has_single_bit(c.block_bytes) ? std::countr_zero(c.block_bytes) : 0;
    pool.first_offset = offset;
    pool.blocks.resize(c.count);
    for (uint32_t i = c.count; i-- > 0;) pool.free.push_back(i);
    arena.pools_.push_back(std::move(pool));
    offset += c.block_bytes * c.count;
  }
  arena.shape_ = std::move(shape);
  return arena;
}

MaybeBlock Arena::Allocate(size_t length, uint64_t tag) {
  MR_CHECK(length > 0, "a block of no length would never be released");
  for (Pool& pool : pools_) {
    if (length > pool.block_bytes) continue;
    if (pool.free.empty()) return {};
    const uint32_t index = pool.free.back();
    pool.free.pop_back();
    MR_CHECK(pool.blocks[index].references == 0, "a block on the free list is referenced");
    pool.blocks[index] = {1, tag};
    ++taken_;
    return BlockRef{pool.first_offset + index * pool.block_bytes, static_cast<uint32_t>(length)};
  }
  return {};
}

Arena::Block* Arena::Find(uint32_t offset, Pool** pool, uint32_t* index) {
  for (Pool& p : pools_) {
    if (offset < p.first_offset) return nullptr;
    const uint32_t behind = offset - p.first_offset;
    if (behind >= p.block_bytes * p.blocks.size()) continue;
    const uint32_t place = p.shift != 0 ? behind >> p.shift : behind / p.block_bytes;
    if (place * p.block_bytes != behind) return nullptr;
    *pool = &p;
    *index = place;
    return &p.blocks[*index];
  }
  return nullptr;
}

void Arena::AddReference(uint32_t offset) {
  Pool* pool;
  uint32_t index;
  Block* block = Find(offset, &pool, &index);
  MR_CHECK(block != nullptr && block->references > 0, "a reference to a block that is not taken");
  ++block->references;
}

bool Arena::Release(uint32_t offset, uint64_t* tag) {
  Pool* pool;
  uint32_t index;
  Block* block = Find(offset, &pool, &index);
  MR_CHECK(block != nullptr && block->references > 0, "a block was released twice");
  if (--block->references > 0) return false;
  pool->free.push_back(index);
  --taken_;
  if (tag != nullptr) *tag = block->tag;
  return true;
}

bool Arena::IsTaken(uint32_t offset) const {
  Pool* pool;
  uint32_t index;
  const Block* block = const_cast<Arena*>(this)->Find(offset, &pool, &index);
  return block != nullptr && block->references > 0;
}

absl::StatusOr<ArenaView> ArenaView::Open(int fd, uint32_t incarnation, Entering entering) {
  absl::StatusOr<Region> region =
      Region::Open(fd, kArenaType, incarnation, Arena::kFirstOffset, entering);
  if (!region.ok()) return region.status();
  ArenaView view;
  view.region_ = std::move(*region);
  return view;
}

}  // namespace millrace
