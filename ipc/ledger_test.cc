#include "ipc/ledger.h"

#include <atomic>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
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
  EXPECT_FALSE(view_.Find(id).has_value());
  LedgerEntry entry;
  entry.deadline_ns = 1234;
  entry.route = 77;
  entry.members = 2;
  entry.priority = 4;
  entry.execution[7] = 99;
  entry.trace[1] = UINT64_MAX;
  ledger_.Open(id, entry);
  const std::optional<LedgerEntry> found = view_.Find(id);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->deadline_ns, 1234);
  EXPECT_EQ(found->route, 77);
  EXPECT_EQ(found->members, 2);
  EXPECT_EQ(found->priority, 4);
  EXPECT_EQ(found->execution[7], 99u);
  EXPECT_EQ(found->trace[1], UINT64_MAX);
  EXPECT_TRUE(view_.Find({3, 9, 1, 5}).has_value());  // any member of the request
  EXPECT_FALSE(view_.Find({3, 9, 0, 0}).has_value());
  EXPECT_FALSE(view_.Find({3, 9, 2, 0}).has_value());
  EXPECT_FALSE(view_.Find({3, 8, 1, 0}).has_value());
  EXPECT_FALSE(view_.Find({4, 9, 1, 0}).has_value());
}

TEST_F(LedgerTest, ClosingAndReplacingEndIt) {
  const PartId first = {0, 1, 0, 0}, replay = {0, 1, 1, 0};
  ledger_.Open(first, LedgerEntry{});
  ledger_.Open(replay, LedgerEntry{});
  EXPECT_FALSE(view_.Find(first).has_value());
  EXPECT_TRUE(view_.Find(replay).has_value());
  ledger_.Close(0);
  EXPECT_FALSE(view_.Find(replay).has_value());
}

TEST_F(LedgerTest, ASlotOutsideIsNotFound) {
  EXPECT_FALSE(view_.Find({16, 0, 0, 0}).has_value());
  EXPECT_FALSE(view_.Find({65535, 1, 0, 0}).has_value());
}

TEST_F(LedgerTest, SequenceAndAttemptHaveTheirWholeRange) {
  const PartId id = {15, UINT32_MAX, 255, 0};
  ledger_.Open(id, LedgerEntry{});
  EXPECT_TRUE(view_.Find(id).has_value());
  EXPECT_FALSE(view_.Find({15, UINT32_MAX, 254, 0}).has_value());
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

// A reader gets a whole entry or none, whatever the writer does meanwhile.
TEST_F(LedgerTest, ReadersSeeWholeEntriesOrNone) {
  std::atomic<bool> stop{false};
  std::atomic<uint32_t> newest{0};
  std::thread writer([&] {
    for (uint32_t sequence = 1; sequence < 200'000; ++sequence) {
      LedgerEntry entry;
      // Every word of the entry tells the sequence.
      entry.deadline_ns = sequence;
      entry.outputs = sequence;
      for (uint32_t& execution : entry.execution) execution = sequence;
      entry.trace[0] = entry.trace[1] = sequence;
      for (uint64_t& word : entry.reserved) word = sequence;
      ledger_.Open({2, sequence, 0, 0}, entry);
      newest = sequence;
      if (sequence % 7 == 0) ledger_.Close(2);
      if (sequence % 1000 == 0) std::this_thread::yield();
    }
    stop = true;
  });
  uint64_t found = 0;
  while (!stop) {
    const uint32_t sequence = newest;
    const std::optional<LedgerEntry> entry = view_.Find({2, sequence, 0, 0});
    if (!entry.has_value()) continue;
    ++found;
    ASSERT_EQ(entry->deadline_ns, sequence);
    ASSERT_EQ(entry->outputs, sequence);
    for (uint32_t execution : entry->execution) ASSERT_EQ(execution, sequence);
    ASSERT_EQ(entry->trace[0], sequence);
    ASSERT_EQ(entry->trace[1], sequence);
    for (uint64_t word : entry->reserved) ASSERT_EQ(word, sequence);
  }
  writer.join();
  EXPECT_EQ(view_.Find({2, 199'999, 0, 0}).has_value(), true);
  RecordProperty("found", static_cast<int>(found));
}

}  // namespace
}  // namespace millrace
