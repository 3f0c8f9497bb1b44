// The owner of an arena, a ledger, a roster or a page flips any bits while others read it.
//
// Only documented results, and no byte outside: the regions and blocks stand between pages that
// nobody may touch. hostile_peer_test has links.
#include <string.h>
#include <sys/mman.h>

#include <random>

#include "common/check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipc/arena.h"
#include "ipc/ledger.h"
#include "ipc/page.h"
#include "ipc/roster.h"
#include "ipc/tensor_pack.h"
#include "ipc/testing/bit_flipper.h"
#include "ipc/testing/effort.h"
#include "ipc/testing/find_entry.h"
#include "ipc/testing/must.h"
#include "ipc/waiter.h"

namespace millrace {
namespace {

constexpr uint32_t kOwner = 21;
constexpr size_t kPageBytes = 4096;
// Each memory is read so often as the test says, and until so many of its bits were flipped.
constexpr uint64_t kFlips = 10'000;

uint64_t Sum(absl::Span<const std::byte> bytes) {
  uint64_t sum = 0;
  for (std::byte b : bytes) sum += static_cast<uint64_t>(b);
  asm volatile("" : "+r"(sum));
  return sum;
}

bool Inside(absl::Span<const std::byte> part, absl::Span<const std::byte> whole) {
  return part.empty() ||
         (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

// Pages of memory with a forbidden one on either side.
class Island {
 public:
  explicit Island(size_t pages) : bytes_(pages * kPageBytes) {
    map_ = static_cast<std::byte*>(
        mmap(nullptr, bytes_ + 2 * kPageBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(map_ + kPageBytes, bytes_, PROT_READ | PROT_WRITE);
  }
  ~Island() { munmap(map_, bytes_ + 2 * kPageBytes); }
  Island(const Island&) = delete;
  absl::Span<std::byte> bytes() { return {map_ + kPageBytes, bytes_}; }
  absl::Span<std::byte> first(size_t n) { return bytes().first(n); }
  absl::Span<std::byte> last(size_t n) { return bytes().last(n); }

 private:
  size_t bytes_;
  std::byte* map_;
};

// A pack of four tensors that fills `block` to its end.
void WritePack(absl::Span<std::byte> block) {
  const auto add = [](PackWriter* writer, size_t rest) {
    return writer->Add(1, DataType::kFp32, 8, 64) && writer->Add(2, DataType::kInt64, 1, 16) &&
           writer->Add(3, DataType::kBytes, 1, 16) &&
           writer->Add(4, DataType::kUint8, static_cast<uint32_t>(rest / 2), rest);
  };
  PackWriter shortest(2), writer(2);
  MR_CHECK(add(&shortest, 16), "four tensors fit");
  MR_CHECK(add(&writer, block.size() - shortest.bytes() + 16), "four tensors fit");
  MR_CHECK(writer.bytes() == block.size(), "the pack fills its block");
  writer.Place(block.data());
}

// A reader that checks an entry where it lies, and then uses it from there. With `dare` it reads
// the last byte; else it only looks whether they lie inside.
bool ReadInPlace(absl::Span<const std::byte> block, bool dare) {
  const auto* header = reinterpret_cast<const volatile PackHeader*>(block.data());
  const auto* entries =
      reinterpret_cast<const volatile TensorEntry*>(block.data() + sizeof *header);
  bool inside = true;
  for (size_t i = 0; i < 4 && header->count == 4; ++i) {
    if (uint64_t{entries[i].offset} + entries[i].bytes > block.size()) continue;
    const absl::Span<const std::byte> data(block.data() + entries[i].offset, entries[i].bytes);
    inside = inside && Inside(data, block);
    if (dare && !data.empty()) Sum(data.last(1));
  }
  return inside;
}

class HostilePackTest : public ::testing::Test {
 protected:
  static constexpr size_t kBlock = 1024;
  static constexpr size_t kHead = sizeof(PackHeader) + 4 * sizeof(TensorEntry);

  // Calls `read` with a block at one end or the other of an island while its bits are flipped,
  // until it says false.
  template <typename Read>
  void WhileFlipped(uint64_t rounds, uint64_t seed, Read read) {
    std::vector<std::byte> original(kBlock);
    WritePack(absl::MakeSpan(original));
    Island island(1);
    BitFlipper flipper(island.bytes(), seed);
    bool go_on = true;
    for (uint64_t round = 0; (round < rounds || flipper.flips() < kFlips) && go_on; ++round) {
      const auto block = round % 2 == 0 ? island.last(kBlock) : island.first(kBlock);
      flipper.Aim(block.data() - island.bytes().data(), kHead);
      for (int i = 0; i < 500 && go_on; ++i) {
        if (i % 10 == 0) memcpy(block.data(), original.data(), kBlock);
        go_on = read(absl::Span<const std::byte>(block));
      }
    }
  }
};

TEST_F(HostilePackTest, APackIsRefusedOrItsTensorsLieInside) {
  uint64_t opened = 0, refused = 0;
  WhileFlipped(Effort(400, 4000), 1, [&](absl::Span<const std::byte> block) {
    const absl::StatusOr<PackView> view = PackView::Open(block);
    ++(view.ok() ? opened : refused);
    if (!view.ok()) {
      EXPECT_TRUE(absl::IsFailedPrecondition(view.status())) << view.status();
      EXPECT_FALSE(view.status().message().empty());
      return true;
    }
    for (size_t i = 0; i < view->count(); ++i) {
      const PackTensor tensor = view->tensor(i);
      EXPECT_TRUE(Inside(tensor.data, block));
      Sum(tensor.data);
    }
    return !HasFailure();
  });
  EXPECT_GT(opened, 100u);
  EXPECT_GT(refused, 100u);
  printf("opened %zu, refused %zu\n", size_t{opened}, size_t{refused});
}

TEST_F(HostilePackTest, AReaderThatReadsInPlaceIsSeen) {
  bool outside = false;
  WhileFlipped(100'000, 2, [&](absl::Span<const std::byte> block) {
    outside = outside || !ReadInPlace(block, false);
    return !outside;
  });
  EXPECT_TRUE(outside);
}

TEST_F(HostilePackTest, AReaderThatReadsInPlaceDiesAtTheGuardPage) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(WhileFlipped(100'000, 3,
                            [](absl::Span<const std::byte> block) {
                              ReadInPlace(block, true);
                              return true;
                            }),
               "");
}

TEST(HostileArenaTest, ABlockLiesInsideOrThereIsNone) {
  constexpr size_t kBytes = 16 * kPageBytes;
  Region memory = Must(Region::Create(kArenaType, kOwner, kBytes));
  const ArenaView view = Must(ArenaView::Open(memory.fd().get(), kOwner));
  const GuardPages guards;
  ASSERT_GT(guards.placed(), 0u);
  const std::byte* start = view.Get({kLineBytes, 1})->data() - kLineBytes;
  std::mt19937_64 random(4);
  // The header too: what it says of the size was read once.
  BitFlipper flipper({memory.bytes(), memory.size()}, 5);
  flipper.Aim(0, sizeof(RegionHeader));
  uint64_t given = 0, none = 0;
  for (uint64_t i = 0; i < Effort(100'000, 1'000'000) || flipper.flips() < kFlips; ++i) {
    const auto number = [&] {
      const uint32_t near[] = {0, kLineBytes, kBytes, UINT32_MAX};
      return static_cast<uint32_t>(random() % 2 == 0 ? random() >> (32 + random() % 32)
                                                     : near[random() % 4] + random() % 3 - 1);
    };
    const BlockRef block = {number(), number()};
    const auto bytes = view.Get(block);
    ++(bytes.has_value() ? given : none);
    ASSERT_EQ(bytes.has_value(),
              block.offset >= kLineBytes && uint64_t{block.offset} + block.length <= kBytes);
    if (!bytes.has_value()) continue;
    ASSERT_TRUE(Inside(*bytes, {start, kBytes}));
    if (i % 16 == 0) Sum(*bytes);
  }
  EXPECT_GT(given, 1000u);
  EXPECT_GT(none, 1000u);
}

TEST(HostileLedgerTest, AnEntryIsFoundOrNot) {
  constexpr size_t kSlotCount = 64;
  Ledger ledger = Must(Ledger::Create(kOwner, kSlotCount));
  const LedgerView view = Must(LedgerView::Open(ledger.region().fd().get(), kOwner));
  const GuardPages guards;
  ASSERT_GT(guards.placed(), 0u);
  std::mt19937_64 random(6);
  BitFlipper flipper({ledger.region().bytes(), ledger.region().size()}, 7);
  uint64_t found = 0, missed = 0;
  for (uint64_t i = 0; i < Effort(100'000, 1'000'000) || flipper.flips() < kFlips; ++i) {
    const PartId id = {static_cast<uint16_t>(random() % 128), static_cast<uint32_t>(i), 0, 0};
    if (id.slot < kSlotCount) ledger.Open(id, LedgerEntry{.deadline_ns = 1});
    flipper.Aim(offsetof(LedgerRegion, slots) + id.slot % kSlotCount * sizeof(LedgerSlot), 8);
    const std::optional<LedgerEntry> entry = Find(view, id);
    ASSERT_FALSE(entry.has_value() && id.slot >= kSlotCount);
    ++(entry.has_value() ? found : missed);
  }
  EXPECT_GT(found, 1000u);
  EXPECT_GT(missed, 1000u);
}

TEST(HostileLedgerTest, OpenRefusesMoreSlotsThanThereAre) {
  uint64_t opened = 0, refused = 0;
  Ledger ledger = Must(Ledger::Create(kOwner, 31));
  const Region& memory = ledger.region();
  const std::vector<std::byte> whole(memory.bytes(), memory.bytes() + memory.size());
  BitFlipper flipper({memory.bytes(), memory.size()}, 8);
  flipper.Aim(offsetof(LedgerRegion, slot_count), 8);
  for (uint64_t i = 0; i < Effort(1000, 10'000) || flipper.flips() < kFlips; ++i) {
    memcpy(memory.bytes(), whole.data(), whole.size());
    const absl::StatusOr<LedgerView> view = LedgerView::Open(memory.fd().get(), kOwner);
    ASSERT_TRUE(view.ok() || absl::IsFailedPrecondition(view.status())) << view.status();
    ++(view.ok() ? opened : refused);
    if (!view.ok()) continue;
    const GuardPages guards;
    for (uint32_t slot = 0; slot < 65536; slot += 31) {
      Find(*view, {static_cast<uint16_t>(slot), 0, 0, 0});
    }
  }
  EXPECT_GT(opened, 0u);
  EXPECT_GT(refused, 0u);
}

TEST(HostileRosterTest, ASnapshotIsInBoundsOrRefused) {
  Region memory = Must(Region::Create(kRosterType, 0, sizeof(RosterRegion)));
  const RosterReader reader = Must(RosterReader::Open(memory.fd().get()));
  const GuardPages guards;
  ASSERT_GT(guards.placed(), 0u);
  std::mt19937_64 random(9);
  auto* roster = memory.as<RosterRegion>();
  uint64_t read = 0, refused = 0;
  BitFlipper flipper({memory.bytes(), memory.size()}, 11);
  for (uint64_t round = 0; round < Effort(1000, 10'000) || flipper.flips() < kFlips; ++round) {
    for (RosterRegion::Place& place : roster->places) {
      place.count.store(random() % (kMaxLanes + 1));
      for (auto& entry : place.entries) entry.store(random() & 0x02'ff'ff'05'ffff'ffffull);
    }
    for (int i = 0; i < 200; ++i) {
      const absl::StatusOr<RosterSnapshot> snapshot = reader.Read();
      ++(snapshot.ok() ? read : refused);
      if (!snapshot.ok()) {
        ASSERT_TRUE(absl::IsFailedPrecondition(snapshot.status())) << snapshot.status();
        continue;
      }
      ASSERT_LE(snapshot->count, kMaxLanes);
      for (const RosterEntry& e : snapshot->lanes()) {
        ASSERT_LT(static_cast<size_t>(e.stage), kStageCount);
        ASSERT_LE(e.state, RosterState::kLeaving);
      }
    }
  }
  EXPECT_GT(read, 1000u);
  EXPECT_GT(refused, 10u);
}

// A peer's `parked` may say anything: a producer writes its eventfd too often or too seldom, never
// waits and never fails. Counters are whatever they are.
TEST(HostilePageTest, AWakerNeverWaits) {
  Region memory = Must(Region::Create(kPageType, kOwner, sizeof(Page)));
  const Region page = Must(Region::Open(memory.fd().get(), kPageType, kOwner, sizeof(Page)));
  const GuardPages guards;
  ASSERT_GT(guards.placed(), 0u);
  const Fd eventfd_of_theirs(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  // The fullest an eventfd can be: one more write would wait if it could.
  ASSERT_EQ(eventfd_write(eventfd_of_theirs.get(), UINT64_MAX - 3), 0);
  Waker waker(&page.as<const Page>()->parked, eventfd_of_theirs.Duplicate());
  BitFlipper flipper({memory.bytes(), memory.size()}, 10);
  flipper.Aim(offsetof(Page, parked), 8);
  uint64_t sum = 0;
  for (uint64_t i = 0; i < Effort(200'000, 2'000'000) || flipper.flips() < kFlips; ++i) {
    waker.Wake();
    sum +=
        page.as<const Page>()->Get(static_cast<Counter>(i % static_cast<size_t>(Counter::kCount)));
  }
  asm volatile("" : "+r"(sum));
  eventfd_t count = 0;
  ASSERT_EQ(eventfd_read(eventfd_of_theirs.get(), &count), 0);
  EXPECT_EQ(count, UINT64_MAX - 1);  // full, and the writes behind it failed at once
}

}  // namespace
}  // namespace millrace
