#include "ipc/ledger.h"

#include <string.h>

#include <atomic>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipc/testing/find_entry.h"
#include "ipc/testing/interrupts.h"
#include "ipc/testing/must.h"

namespace millrace {
namespace {

class LedgerTest : public ::testing::Test {
 protected:
  Ledger ledger_ = Must(Ledger::Create(5, 16));
  LedgerView view_ = Must(LedgerView::Open(ledger_.region().fd().get(), 5));
};

TEST_F(LedgerTest, OnlyTheLiveSequenceAndAttemptIsFound) {
  const PartId id = {3, 9, 1, 0};
  EXPECT_FALSE(Find(view_, id).has_value());
  LedgerEntry entry;
  entry.deadline_ns = 1234;
  entry.route = 77;
  entry.members = 2;
  entry.priority = 4;
  entry.execution[7] = 99;
  entry.trace[1] = UINT64_MAX;
  ledger_.Open(id, entry);
  const std::optional<LedgerEntry> found = Find(view_, id);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->deadline_ns, 1234);
  EXPECT_EQ(found->route, 77);
  EXPECT_EQ(found->members, 2);
  EXPECT_EQ(found->priority, 4);
  EXPECT_EQ(found->execution[7], 99u);
  EXPECT_EQ(found->trace[1], UINT64_MAX);
  EXPECT_TRUE(Find(view_, {3, 9, 1, 5}).has_value());  // any member of the request
  EXPECT_FALSE(Find(view_, {3, 9, 0, 0}).has_value());
  EXPECT_FALSE(Find(view_, {3, 9, 2, 0}).has_value());
  EXPECT_FALSE(Find(view_, {3, 8, 1, 0}).has_value());
  EXPECT_FALSE(Find(view_, {4, 9, 1, 0}).has_value());
}

TEST_F(LedgerTest, ClosingAndReplacingEndIt) {
  const PartId first = {0, 1, 0, 0}, replay = {0, 1, 1, 0};
  ledger_.Open(first, LedgerEntry{});
  ledger_.Open(replay, LedgerEntry{});
  EXPECT_FALSE(Find(view_, first).has_value());
  EXPECT_TRUE(Find(view_, replay).has_value());
  ledger_.Close(0);
  EXPECT_FALSE(Find(view_, replay).has_value());
}

TEST_F(LedgerTest, ASlotOutsideIsNotFound) {
  EXPECT_FALSE(Find(view_, {16, 0, 0, 0}).has_value());
  EXPECT_FALSE(Find(view_, {65535, 1, 0, 0}).has_value());
}

TEST_F(LedgerTest, SequenceAndAttemptHaveTheirWholeRange) {
  const PartId id = {15, UINT32_MAX, 255, 0};
  ledger_.Open(id, LedgerEntry{});
  EXPECT_TRUE(Find(view_, id).has_value());
  EXPECT_FALSE(Find(view_, {15, UINT32_MAX, 254, 0}).has_value());
}

TEST(LedgerViewTest, RefusesACountThatDoesNotFit) {
  // What a hostile ingress could hand on: its own region with another count.
  for (uint64_t count : {uint64_t{33}, uint64_t{65537}, UINT64_MAX}) {
    Region region = Must(
        Region::Create(kLedgerType, 5, offsetof(LedgerRegion, slots) + 16 * sizeof(LedgerSlot)));
    region.as<LedgerRegion>()->slot_count.store(count);
    EXPECT_TRUE(absl::IsFailedPrecondition(LedgerView::Open(region.fd().get(), 5).status()))
        << count;
  }
  EXPECT_DEATH((void)Ledger::Create(1, 0), "16 bits");
  EXPECT_DEATH((void)Ledger::Create(1, 65537), "16 bits");
  EXPECT_TRUE(LedgerView::Open(Must(Ledger::Create(1, 65536)).region().fd().get(), 1).ok());
}

// Every word of the entry tells the sequence.
LedgerEntry EntryOf(uint32_t sequence) {
  LedgerEntry entry;
  entry.deadline_ns = sequence;
  entry.outputs = sequence;
  for (uint32_t& execution : entry.execution) execution = sequence;
  entry.trace[0] = entry.trace[1] = sequence;
  for (uint64_t& word : entry.reserved) word = sequence;
  return entry;
}

bool IsWhole(const LedgerEntry& entry, uint32_t sequence) {
  const LedgerEntry expected = EntryOf(sequence);
  return memcmp(&entry, &expected, sizeof entry) == 0;
}

Ledger* g_ledger = nullptr;
std::atomic<uint32_t> g_sequence{1};

// The slot is used again, or closed, at any instruction of a reader.
TEST_F(LedgerTest, AnOvertakenReaderGetsNothing) {
  g_ledger = &ledger_;
  g_sequence = 1;
  ledger_.Open({2, 1, 0, 0}, EntryOf(1));
  const Interrupts interrupts([] {
    const uint32_t sequence = g_sequence + 1;
    g_ledger->Open({2, sequence, 0, 0}, EntryOf(sequence));
    if (sequence % 5 == 0) g_ledger->Close(2);
    g_sequence = sequence;
  });
  uint64_t found = 0, overtaken = 0;
  while (interrupts.count() < 3000) {
    const uint32_t sequence = g_sequence;
    const std::optional<LedgerEntry> entry = Find(view_, {2, sequence, 0, 0});
    if (entry.has_value()) {
      ++found;
      ASSERT_TRUE(IsWhole(*entry, sequence)) << sequence;
    } else {
      overtaken += sequence % 5 != 0;
    }
  }
  EXPECT_GT(found, 0u);
  EXPECT_GT(overtaken, 0u);
}

TEST_F(LedgerTest, AReaderBesideAWriterSeesWholeEntriesOrNone) {
  std::atomic<bool> stop{false};
  std::atomic<uint32_t> newest{0};
  std::thread writer([&] {
    for (uint32_t sequence = 1; sequence < 100'000; ++sequence) {
      ledger_.Open({2, sequence, 0, 0}, EntryOf(sequence));
      newest = sequence;
      if (sequence % 7 == 0) ledger_.Close(2);
      if (sequence % 1000 == 0) std::this_thread::yield();
    }
    stop = true;
  });
  while (!stop && !HasFailure()) {
    const uint32_t sequence = newest;
    const std::optional<LedgerEntry> entry = Find(view_, {2, sequence, 0, 0});
    EXPECT_TRUE(!entry.has_value() || IsWhole(*entry, sequence)) << sequence;
  }
  writer.join();
  EXPECT_TRUE(Find(view_, {2, 99'999, 0, 0}).has_value());
}

}  // namespace
}  // namespace millrace
