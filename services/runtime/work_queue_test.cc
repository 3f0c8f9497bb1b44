#include "services/runtime/work_queue.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace millrace {
namespace {

struct Item {
  uint32_t rank;
  int64_t deadline_ns;
  int number;
};

std::vector<int> Numbers(WorkQueue<Item>* queue) {
  std::vector<int> numbers;
  while (!queue->empty()) {
    const int top = queue->top().number;
    numbers.push_back(queue->Pop().number);
    EXPECT_EQ(numbers.back(), top);
  }
  return numbers;
}

void Push(WorkQueue<Item>* queue, const Item& item) {
  queue->Push(item, item.rank, item.deadline_ns);
}

TEST(WorkQueueTest, RankThenDeadlineThenArrival) {
  WorkQueue<Item> queue(8);
  for (const Item& item : std::vector<Item>{
           {2, 10, 5}, {1, 30, 3}, {1, 20, 1}, {2, 10, 6}, {1, 20, 2}, {1, 30, 4}, {3, 5, 7}}) {
    Push(&queue, item);
  }
  EXPECT_EQ(queue.size(), 7u);
  EXPECT_EQ(Numbers(&queue), (std::vector<int>{1, 2, 3, 4, 5, 6, 7}));
}

TEST(WorkQueueTest, ItemsComeAsTheyWerePutWhateverPlacesAreUsedAgain) {
  // Longer than a short string: a place that is used twice at once would show.
  WorkQueue<std::string> queue(2);
  std::vector<std::pair<int64_t, std::string>> there;
  std::mt19937 random(7);
  for (int i = 0; i < 20'000; ++i) {
    if (random() % 5 < 3) {
      const int64_t deadline_ns = random() % 50;
      const std::string text = std::to_string(i) + " of the items that are taken in this test";
      queue.Push(text, 1, deadline_ns);
      there.emplace_back(deadline_ns, text);
    } else if (!there.empty()) {
      const auto first =
          std::min_element(there.begin(), there.end(),
                           [](const auto& a, const auto& b) { return a.first < b.first; });
      ASSERT_EQ(queue.top(), first->second);
      ASSERT_EQ(queue.Pop(), first->second);
      there.erase(first);
    }
    ASSERT_EQ(queue.size(), there.size());
    if (there.size() > 200) {
      while (!queue.empty()) queue.Pop();
      there.clear();
    }
  }
}

TEST(WorkQueueDeathTest, NothingIsTakenFromAnEmptyQueue) {
  WorkQueue<Item> queue(2);
  EXPECT_DEATH(queue.Pop(), "empty queue");
}

}  // namespace
}  // namespace millrace
