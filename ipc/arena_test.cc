#include "ipc/arena.h"

#include <map>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipc/testing/must.h"

namespace millrace {
namespace {

Arena Small() { return Must(Arena::Create(1, {{{256, 2}, {1024, 3}, {4096, 1}}})); }

TEST(ArenaTest, ABlockComesFromTheSmallestClassThatHoldsIt) {
  Arena arena = Small();
  const BlockRef a = *arena.Allocate(1), b = *arena.Allocate(256);
  EXPECT_EQ(a.length, 1u);
  EXPECT_EQ(b.length, 256u);
  EXPECT_EQ(b.offset - a.offset, 256u);
  EXPECT_FALSE(arena.Allocate(256).has_value());  // the class is used up; no larger one helps out
  const BlockRef c = *arena.Allocate(257);
  EXPECT_GE(c.offset, b.offset + 256);
  EXPECT_TRUE(arena.Allocate(4096).has_value());
  EXPECT_FALSE(arena.Allocate(4097).has_value());
  EXPECT_EQ(arena.taken(), 4u);
}

TEST(ArenaTest, BlocksAreAlignedAndApart) {
  Arena arena = Must(Arena::Create(1, ArenaShape::For(2, 8, 100'000, 33'333)));
  std::map<uint32_t, uint32_t> taken;  // offset -> end
  for (const ArenaShape::Class& c : arena.shape().classes) {
    for (uint32_t i = 0; i < c.count; ++i) {
      MaybeBlock block = arena.Allocate(c.block_bytes);
      ASSERT_TRUE(block.has_value());
      EXPECT_EQ(block->offset % 64, 0u);
      EXPECT_GE(block->offset, kLineBytes);  // behind the header
      EXPECT_LE(block->offset + block->length, arena.region().size());
      ASSERT_TRUE(taken.emplace(block->offset, block->offset + block->length).second);
    }
    EXPECT_FALSE(arena.Allocate(c.block_bytes).has_value());
  }
  uint32_t end = 0;
  for (const auto& [offset, block_end] : taken) {
    EXPECT_GE(offset, end);
    end = block_end;
  }
}

TEST(ArenaTest, TheLastFreedIsTheNextTaken) {
  Arena arena = Small();
  const BlockRef a = *arena.Allocate(1000), b = *arena.Allocate(1000);
  arena.Release(a.offset);
  arena.Release(b.offset);
  EXPECT_EQ(arena.Allocate(1000)->offset, b.offset);
  EXPECT_EQ(arena.Allocate(1000)->offset, a.offset);
}

TEST(ArenaTest, TheTagComesBackWithTheLastReference) {
  Arena arena = Small();
  const BlockRef block = *arena.Allocate(10, 0xfeedull << 40);
  arena.AddReference(block.offset);
  uint64_t tag = 0;
  EXPECT_FALSE(arena.Release(block.offset, &tag));
  EXPECT_TRUE(arena.IsTaken(block.offset));
  EXPECT_TRUE(arena.Release(block.offset, &tag));
  EXPECT_EQ(tag, 0xfeedull << 40);
  EXPECT_FALSE(arena.IsTaken(block.offset));
  EXPECT_EQ(arena.taken(), 0u);
}

TEST(ArenaDeathTest, ReferencesOfWhatIsNotTakenAbort) {
  Arena arena = Small();
  const BlockRef block = *arena.Allocate(10);
  EXPECT_DEATH(arena.Release(block.offset + 64), "released twice");  // inside, not at a start
  EXPECT_DEATH(arena.Release(0), "released twice");
  EXPECT_DEATH(arena.Release(UINT32_MAX), "released twice");
  EXPECT_DEATH(arena.AddReference(block.offset + 256), "not taken");
  arena.Release(block.offset);
  EXPECT_DEATH(arena.Release(block.offset), "released twice");
  EXPECT_DEATH(arena.AddReference(block.offset), "not taken");
}

TEST(ArenaDeathTest, ABlockOfNoBytesIsNotABlock) {
  Arena arena = Small();
  EXPECT_DEATH(arena.Allocate(0), "no length");
}

TEST(ArenaTest, IsTakenIsFalseForWhatIsNoStart) {
  Arena arena = Small();
  const BlockRef block = *arena.Allocate(10);
  EXPECT_TRUE(arena.IsTaken(block.offset));
  for (uint32_t offset : {0u, 1u, block.offset + 1, block.offset + 256, UINT32_MAX}) {
    EXPECT_FALSE(arena.IsTaken(offset)) << offset;
  }
}

TEST(ArenaTest, AnArenaBeyondOffsetsIsRefused) {
  EXPECT_TRUE(absl::IsInvalidArgument(Arena::Create(1, {{{1u << 30, 4}}}).status()));
}

TEST(ArenaShapeTest, ClassesGrowToTheLargestBlock) {
  const ArenaShape shape = ArenaShape::For(4, 64, 100'000, 20'000);
  ASSERT_EQ(shape.classes.size(), 5u);
  const uint32_t bytes[] = {256, 1024, 4096, 16384, 20096};
  const uint32_t counts[] = {256, 256, 96, 24, 16};  // 4 lanes x min(64, 100000 / bytes)
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(shape.classes[i].block_bytes, bytes[i]);
    EXPECT_EQ(shape.classes[i].count, counts[i]);
  }
  EXPECT_EQ(shape.BlockBytes(1), 256u);
  EXPECT_EQ(shape.BlockBytes(1025), 4096u);
  EXPECT_EQ(shape.BlockBytes(20096), 20096u);
  EXPECT_EQ(shape.BlockBytes(20097), 0u);
  EXPECT_DEATH(ArenaShape::For(1, 1, 100, 200), "must hold the largest block");
}

// Whoever stays within the windows never fails to allocate: random traffic of several lanes, each
// within its requests and bytes, leaning to the windows' edges.
TEST(ArenaShapeTest, WithinTheWindowsAllocationNeverFails) {
  std::mt19937 random(5);
  for (int round = 0; round < 60; ++round) {
    const size_t lanes = 1 + random() % 4;
    const size_t requests = 1 + random() % 64;
    const size_t max_block = 1 + random() % 50'000;
    const size_t window = (1 + random() % 8) * (max_block + kLineBytes) + random() % 5000;
    Arena arena = Must(Arena::Create(1, ArenaShape::For(lanes, requests, window, max_block)));
    struct Out {
      uint32_t offset;
      size_t bytes;
    };
    std::vector<std::vector<Out>> out(lanes);
    std::vector<size_t> used(lanes);
    for (int step = 0; step < 3000; ++step) {
      const size_t lane = random() % lanes;
      // Lengths of every class, often the same for a while, so that one class is filled.
      const size_t bits = step / 100 % 17;
      const size_t length = 1 + std::min<size_t>(random() % (size_t{1} << bits), max_block - 1);
      const size_t bytes = arena.shape().BlockBytes(length);
      if (out[lane].size() < requests && used[lane] + bytes <= window) {
        MaybeBlock block = arena.Allocate(length);
        ASSERT_TRUE(block.has_value())
            << "lanes " << lanes << " requests " << requests << " window " << window << " of "
            << max_block << ": no block of " << length;
        used[lane] += bytes;
        out[lane].push_back({block->offset, bytes});
      } else if (!out[lane].empty()) {
        std::swap(out[lane][random() % out[lane].size()], out[lane].back());
        arena.Release(out[lane].back().offset);
        used[lane] -= out[lane].back().bytes;
        out[lane].pop_back();
      }
    }
  }
}

TEST(ArenaViewTest, SeesBytesAndRefusesWhatLiesOutside) {
  Arena arena = Small();
  const BlockRef block = *arena.Allocate(5);
  arena.At(block.offset)[4] = std::byte{42};
  ArenaView view = Must(ArenaView::Open(arena.region().fd().get(), 1));
  auto bytes = view.Get(block);
  ASSERT_TRUE(bytes.has_value());
  ASSERT_EQ(bytes->size(), 5u);
  EXPECT_EQ((*bytes)[4], std::byte{42});
  const auto size = static_cast<uint32_t>(arena.region().size());
  EXPECT_TRUE(view.Get({size - 1, 1}).has_value());
  for (const BlockRef& bad : {BlockRef{size - 1, 2},
                              {size, 1},
                              {UINT32_MAX, UINT32_MAX},
                              {UINT32_MAX, 1},
                              {128, UINT32_MAX},
                              {0, 8},
                              {127, 8}}) {
    EXPECT_FALSE(view.Get(bad).has_value()) << bad.offset << " + " << bad.length;
  }
  EXPECT_FALSE(ArenaView::Open(arena.region().fd().get(), 2).ok());
}

}  // namespace
}  // namespace millrace
