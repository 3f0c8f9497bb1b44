#include "kernels/cuda/tile_shape.h"

#include <algorithm>
#include <bit>

#include "common/check.h"

namespace millrace::cuda {
namespace {

// Staging pays where all nodes fit one buffer; a larger forest is walked faster in the caches.
constexpr uint32_t kStagedBytes = 16 * 1024;
constexpr uint32_t kMinStagedBytes = 4 * 1024;
constexpr uint32_t kSharedColumnBytes = 32 * 1024;
constexpr uint32_t kSharedSumBytes = 16 * 1024;
constexpr uint32_t kPasses = 4;  // fewer chunks, fewer barriers; more would take shared memory

uint32_t AlignUp(uint64_t value, uint32_t alignment) {
  return static_cast<uint32_t>((value + alignment - 1) / alignment * alignment);
}

// A row's bytes begin in a bank of their own: the words of a row are odd in number.
uint32_t ByteStride(uint32_t columns) {
  const uint32_t words = (columns + 3) / 4;
  return (words | 1) * 4;
}

uint64_t ValueBytes(const ForestFacts& facts, const TileShape& shape) {
  return static_cast<uint64_t>(shape.chunk_trees << shape.row_bits) * facts.margin_bytes;
}

// Lays the parts out one behind the other. Nodes stand first, since they need the most alignment.
uint64_t LayOut(const ForestFacts& facts, TileShape* shape) {
  const uint64_t rows = 1ull << shape->row_bits;
  uint64_t at = 2ull * shape->staged_nodes * sizeof(NodeWords);
  shape->values_at = static_cast<uint32_t>(at);
  at += 2 * ValueBytes(facts, *shape);
  shape->sums_at = AlignUp(at, 16);
  at = shape->sums_at + (shape->shared_sums_on ? rows * facts.groups * facts.margin_bytes : 0);
  shape->inputs_at = AlignUp(at, 16);
  at = shape->inputs_at + (shape->warp_rank ? rows * facts.features * sizeof(float) : 0);
  shape->bytes_at = AlignUp(at, 16);
  at = shape->bytes_at + (shape->shared_bytes_on ? rows * shape->byte_stride : 0);
  shape->pool_bytes = AlignUp(at, 16);
  return at;
}

}  // namespace

TileRules ChooseRules(const ForestFacts& facts, const DeviceLimits& limits, uint64_t bucket_rows,
                      bool fast) {
  TileRules rules;
  const uint64_t stride = ByteStride(facts.columns);
  const auto blocks = [&] { return bucket_rows / rules.rows; };
  const auto may_double = [&] {
    return rules.rows < kMaxTileRows && blocks() > 1 &&
           2 * rules.rows * stride <= kSharedColumnBytes;
  };
  const auto walks_if_doubled = [&] { return uint64_t{2} * rules.rows * facts.trees; };
  // Every block reads the header, maybe over the bus, and takes a ticket: none for less than a walk
  // for each thread, and few where four walks for each still leave half of the device at work.
  while (may_double() && walks_if_doubled() <= kMaxTileThreads) rules.rows *= 2;
  while (may_double() && walks_if_doubled() <= 4 * kMaxTileThreads &&
         blocks() > limits.multiprocessors / 2) {
    rules.rows *= 2;
  }
  const uint64_t useful = std::bit_ceil(uint64_t{std::max(facts.trees, 1u)} * rules.rows);
  rules.threads = static_cast<uint32_t>(std::clamp<uint64_t>(useful, 256, kMaxTileThreads));
  // What does not run at once anyway runs in smaller blocks: one waits for its barrier while others
  // walk.
  if (blocks() > 2 * uint64_t{limits.multiprocessors}) rules.threads = 256;
  while (may_double() && blocks() > 4 * uint64_t{limits.multiprocessors}) rules.rows *= 2;
  rules.passes = kPasses;
  rules.staged_bytes =
      !facts.wide && facts.nodes * sizeof(NodeWords) <= kStagedBytes ? kStagedBytes : 0;
  rules.warp_rank = facts.features * rules.rows <= 2 * (rules.threads / 32);
  rules.fast = fast && facts.groups == 1 && !facts.vector_leaves;
  return rules;
}

bool FitTile(const ForestFacts& facts, const TileRules& rules, uint32_t shared_limit_bytes,
             TileShape* shape) {
  MR_CHECK(std::has_single_bit(rules.rows) && rules.rows <= kMaxTileRows, "rows of a tile");
  MR_CHECK(std::has_single_bit(rules.threads) && rules.threads >= 32 &&
               rules.threads <= kMaxTileThreads && rules.threads >= rules.rows,
           "threads of a tile");
  MR_CHECK(!rules.fast || (facts.groups == 1 && !facts.vector_leaves), "what can be summed fast");
  *shape = {};
  shape->row_bits = static_cast<uint32_t>(std::countr_zero(rules.rows));
  shape->threads = rules.threads;
  shape->chunk_trees = (rules.threads >> shape->row_bits) * std::max(rules.passes, 1u);
  shape->staged_nodes = facts.wide ? 0 : rules.staged_bytes / 16 * 2;
  shape->byte_stride = ByteStride(facts.columns);
  shape->warp_rank = rules.warp_rank;
  shape->fast = rules.fast;
  shape->shared_bytes_on = rules.shared_bytes;
  shape->shared_sums_on =
      rules.shared_sums &&
      static_cast<uint64_t>(facts.groups) * facts.margin_bytes * rules.rows <= kSharedSumBytes;
  const auto fits = [&] { return LayOut(facts, shape) <= shared_limit_bytes; };
  while (!fits() && shape->staged_nodes * sizeof(NodeWords) > kMinStagedBytes) {
    shape->staged_nodes = shape->staged_nodes / 4 * 2;
  }
  if (!fits()) shape->staged_nodes = 0;
  if (!fits()) shape->warp_rank = 0;
  if (!fits()) shape->shared_bytes_on = 0;
  if (!fits()) shape->shared_sums_on = 0;
  // The kernels that read nodes from shared memory have their column bytes there, too.
  if (!shape->shared_bytes_on) shape->staged_nodes = 0;
  return fits();
}

namespace {

// How many trees from `first` on make one chunk, and whether their nodes are staged.
uint32_t ChunkLength(std::span<const DeviceTree> trees, uint32_t first, const TileShape& shape,
                     bool* staged) {
  const uint32_t slots = shape.threads >> shape.row_bits;
  const auto fits = [&](uint32_t tree) { return trees[tree].node_count <= shape.staged_nodes; };
  *staged = fits(first);
  uint32_t count = 0;
  while (count < shape.chunk_trees && first + count < trees.size()) {
    const DeviceTree& tree = trees[first + count];
    if (fits(first + count) != *staged) break;
    const uint32_t end = tree.first_node + (tree.node_count + 1) / 2 * 2;
    if (*staged && end - trees[first].first_node > shape.staged_nodes) break;
    ++count;
  }
  // Full passes only, as long as more trees follow.
  if (count > slots && first + count < trees.size()) count = count / slots * slots;
  return count;
}

}  // namespace

ChunkLists MakeChunks(std::span<const DeviceTree> trees, std::span<const uint32_t> groups,
                      bool vector_leaves, const TileShape& shape) {
  ChunkLists lists;
  for (uint32_t first = 0; first < trees.size();) {
    bool staged = false;
    const uint32_t count = ChunkLength(trees, first, shape, &staged);
    DeviceChunk chunk = {
        first, count, trees[first].first_node, 0, static_cast<uint32_t>(lists.segments.size()), 0};
    const DeviceTree& last = trees[first + count - 1];
    if (staged)
      chunk.node_count = last.first_node + (last.node_count + 1) / 2 * 2 - chunk.first_node;
    for (uint32_t i = 0; i < count && !vector_leaves; ++i) {
      if (i == 0 || groups[first + i] != groups[first + i - 1]) {
        lists.segments.push_back({groups[first + i], i, i});
      }
      lists.segments.back().end = i + 1;
    }
    chunk.segment_count = static_cast<uint32_t>(lists.segments.size()) - chunk.first_segment;
    lists.chunks.push_back(chunk);
    first += count;
  }
  return lists;
}

}  // namespace millrace::cuda
