#include "services/ingress/core/slot_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <tuple>

namespace millrace {
namespace {

TEST(SlotQueueTest, PriorityThenDeadlineThenArrival) {
  SlotQueue queue(8);
  queue.Push(0, 128, 100);
  queue.Push(1, 128, 50);
  queue.Push(2, 1, 900);
  queue.Push(3, 128, 100);
  queue.Push(4, 200, 1);
  for (const uint16_t expected : {2, 1, 0, 3, 4}) EXPECT_EQ(queue.PopFront(), expected);
  EXPECT_TRUE(queue.empty());
}

TEST(SlotQueueTest, WhatIsPutBackKeepsItsPlace) {
  SlotQueue queue(4);
  queue.Push(0, 128, 100);
  queue.Push(1, 128, 100);
  queue.PutBack(queue.PopFront());
  EXPECT_EQ(queue.PopFront(), 0);
}

// Against a sorted list, with everything that can happen.
TEST(SlotQueueTest, AgreesWithASortedList) {
  constexpr uint16_t kSlots = 64;
  std::mt19937 random(7);
  SlotQueue queue(kSlots);
  std::vector<std::tuple<uint32_t, int64_t, uint64_t, uint16_t>> list;
  uint64_t order = 0;
  for (int step = 0; step < 20'000; ++step) {
    const auto slot = static_cast<uint16_t>(random() % kSlots);
    const auto at = std::find_if(list.begin(), list.end(),
                                 [&](const auto& entry) { return std::get<3>(entry) == slot; });
    if (at == list.end()) {
      const uint32_t rank = random() % 3;
      const auto deadline_ns = static_cast<int64_t>(random() % 5);
      queue.Push(slot, rank, deadline_ns);
      list.emplace_back(rank, deadline_ns, order++, slot);
      std::sort(list.begin(), list.end());
    } else if (random() % 2 == 0) {
      queue.Erase(slot);
      list.erase(at);
    }
    if (random() % 3 == 0 && !list.empty()) {
      ASSERT_EQ(queue.PopFront(), std::get<3>(list.front()));
      list.erase(list.begin());
    }
    ASSERT_EQ(queue.size(), list.size());
    if (!list.empty()) {
      ASSERT_EQ(queue.front(), std::get<3>(list.front()));
    }
  }
}

TEST(SlotQueueTest, TellsWhoStandsBeforeARankAndWhoIsLast) {
  SlotQueue queue(8);
  queue.Push(0, 10, 500);
  queue.Push(1, 200, 100);
  queue.Push(2, 200, 900);
  queue.Push(3, 128, 950);
  EXPECT_EQ(queue.Ahead(9), 0u);
  EXPECT_EQ(queue.Ahead(10), 1u);
  EXPECT_EQ(queue.Ahead(199), 2u);
  EXPECT_EQ(queue.Ahead(255), 4u);
  const auto any = [](uint16_t) { return true; };
  EXPECT_EQ(queue.Last(any), 2);  // the lowest priority, and of these the latest deadline
  EXPECT_EQ(queue.Last([](uint16_t slot) { return slot != 2; }), 1);
  queue.PutBack(queue.PopFront());
  EXPECT_EQ(queue.Ahead(10), 1u);
  queue.Erase(2);
  EXPECT_EQ(queue.Ahead(255), 3u);
  EXPECT_EQ(queue.Last(any), 1);
  EXPECT_EQ(queue.Last([](uint16_t) { return false; }), std::nullopt);
}

}  // namespace
}  // namespace millrace
