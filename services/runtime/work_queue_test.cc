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
    Item item;
    queue->PopInto(&item);
    numbers.push_back(item.number);
    EXPECT_EQ(item.number, top);
  }
  return numbers;
}

void Push(WorkQueue<Item>* queue, const Item& item) {
  *queue->Room() = item;
  queue->Put(item.rank, item.deadline_ns);
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
      *queue.Room() = text;
      queue.Put(1, deadline_ns);
      there.emplace_back(deadline_ns, text);
    } else if (!there.empty()) {
      const auto first =
          std::min_element(there.begin(), there.end(),
                           [](const auto& a, const auto& b) { return a.first < b.first; });
      ASSERT_EQ(queue.top(), first->second);
      std::string popped;
      queue.PopInto(&popped);
      ASSERT_EQ(popped, first->second);
      there.erase(first);
    }
    ASSERT_EQ(queue.size(), there.size());
    if (there.size() > 200) {
      std::string popped;
      while (!queue.empty()) queue.PopInto(&popped);
      there.clear();
    }
  }
}

// In order, out of order, and in order again; at most so many that nothing is allocated.
TEST(WorkQueueTest, ALineThatOthersOvertakeKeepsItsOrder) {
  WorkQueue<Item> queue(4);
  std::vector<int> came;
  Item item;
  for (int round = 0; round < 100; ++round) {
    const int at = round * 10;
    for (const Item& next : std::vector<Item>{
             {2, at + 3, at + 1}, {2, at + 4, at + 2}, {2, at + 2, at}, {2, at + 4, at + 3}}) {
      Push(&queue, next);
    }
    // One stays behind, so that the line never empties.
    while (queue.size() > 1) {
      queue.PopInto(&item);
      came.push_back(item.number);
    }
  }
  EXPECT_TRUE(std::is_sorted(came.begin(), came.end()));
  EXPECT_EQ(came.size(), 399u);
}

TEST(WorkQueueTest, RoomThatIsNotPutIsGivenAgain) {
  WorkQueue<Item> queue(2);
  Item* const room = queue.Room();
  EXPECT_EQ(queue.Room(), room);
  EXPECT_TRUE(queue.empty());
  *room = {1, 10, 7};
  queue.Put(1, 10);
  EXPECT_NE(queue.Room(), room);
  EXPECT_EQ(queue.top().number, 7);
}

TEST(WorkQueueDeathTest, NothingIsPutThatHasNoRoom) {
  WorkQueue<Item> queue(2);
  EXPECT_DEATH(queue.Put(1, 10), "has no room");
}

TEST(WorkQueueDeathTest, NothingIsTakenFromAnEmptyQueue) {
  WorkQueue<Item> queue(2);
  Item item;
  EXPECT_DEATH(queue.PopInto(&item), "empty queue");
}

}  // namespace
}  // namespace millrace
