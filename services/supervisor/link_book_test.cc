#include "services/supervisor/link_book.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "gtest/gtest.h"

namespace millrace {
namespace {

constexpr Stage kAllWithLanes[] = {Stage::kIngress, Stage::kFeatures, Stage::kExecution,
                                   Stage::kAggregation};

std::set<uint32_t> Incarnations(const std::vector<BookLane>& lanes) {
  std::set<uint32_t> out;
  for (const BookLane& lane : lanes) out.insert(lane.incarnation);
  return out;
}

TEST(LinkBook, ALoneLaneIsConnected) {
  LinkBook book;
  EXPECT_TRUE(book.Add({1, Stage::kExecution, 1}).empty());
  EXPECT_TRUE(book.Connected(1));
  EXPECT_FALSE(book.Connected(2)) << "a lane that is not in the book";
}

TEST(LinkBook, LinksFollowTheTopologyAndNothingElse) {
  for (Stage a : kAllWithLanes) {
    for (Stage b : kAllWithLanes) {
      LinkBook book;
      book.Add({1, a, 1});
      const bool meets = !book.Add({2, b, 2}).empty();
      EXPECT_EQ(meets, IsEdge(a, b) || IsEdge(b, a)) << StageName(a) << " " << StageName(b);
      EXPECT_EQ(book.link_count(), size_t{IsEdge(a, b)} + size_t{IsEdge(b, a)});
      EXPECT_EQ(book.OtherEnd(1, 2, 1), IsEdge(a, b) ? 2u : 0u);
    }
  }
}

TEST(LinkBook, ConnectedNeedsBothEndsOfBothDirections) {
  LinkBook book;
  book.Add({1, Stage::kExecution, 10});
  EXPECT_EQ(Incarnations(book.Add({2, Stage::kIngress, 20})), std::set<uint32_t>{1});
  EXPECT_TRUE(book.MarkUp(2, 1, 20));
  EXPECT_TRUE(book.MarkUp(2, 1, 10));
  EXPECT_TRUE(book.MarkUp(1, 2, 10));
  EXPECT_FALSE(book.Connected(1));
  EXPECT_TRUE(book.MarkUp(1, 2, 10)) << "saying it twice does not stand for the other end";
  EXPECT_FALSE(book.Connected(2));
  EXPECT_TRUE(book.MarkUp(1, 2, 20));
  EXPECT_TRUE(book.Connected(1));
  EXPECT_TRUE(book.Connected(2));
}

TEST(LinkBook, AStrangerMovesNothing) {
  LinkBook book;
  book.Add({1, Stage::kExecution, 10});
  book.Add({2, Stage::kAggregation, 20});
  book.Add({3, Stage::kIngress, 30});
  EXPECT_FALSE(book.MarkUp(1, 2, 30));
  EXPECT_FALSE(book.MarkUp(2, 1, 20)) << "there is no edge backwards";
  EXPECT_EQ(book.OtherEnd(1, 2, 30), 0u);
  EXPECT_FALSE(book.Linked(20, 99));
  EXPECT_TRUE(book.Linked(20, 1));
  EXPECT_TRUE(book.Linked(10, 2));
}

TEST(LinkBook, LanesOfOneProcessDoNotMeetAndEachMeetsTheOthers) {
  LinkBook book;
  book.Add({1, Stage::kIngress, 1});
  EXPECT_TRUE(book.Add({2, Stage::kIngress, 1}).empty());
  EXPECT_EQ(Incarnations(book.Add({3, Stage::kExecution, 3})), (std::set<uint32_t>{1, 2}));
  EXPECT_EQ(book.link_count(), 4u);
}

TEST(LinkBook, ADeadLaneKeepsNobodyWaiting) {
  LinkBook book;
  book.Add({1, Stage::kExecution, 10});
  book.Add({2, Stage::kFeatures, 20});
  book.Add({3, Stage::kIngress, 30});
  EXPECT_FALSE(book.Connected(2));
  EXPECT_EQ(book.Remove(1), (std::vector<uint32_t>{20, 30}));
  EXPECT_EQ(book.link_count(), 1u);
  EXPECT_TRUE(book.MarkUp(3, 2, 20));
  EXPECT_TRUE(book.MarkUp(3, 2, 30));
  EXPECT_TRUE(book.Connected(2));
  EXPECT_TRUE(book.Remove(1).empty());
}

// Every order in which the ends of a full house can come up leads to the same end.
TEST(LinkBook, TheOrderOfLinkUpsDoesNotMatter) {
  struct Up {
    uint32_t producer, consumer, sender;
    bool operator<(const Up& o) const {
      return std::tie(producer, consumer, sender) < std::tie(o.producer, o.consumer, o.sender);
    }
  };
  std::vector<Up> ups = {{1, 2, 1}, {1, 2, 2}, {2, 1, 1}, {2, 1, 2}, {1, 3, 1}, {1, 3, 3}};
  std::sort(ups.begin(), ups.end());
  do {
    LinkBook book;
    book.Add({1, Stage::kExecution, 1});
    book.Add({2, Stage::kIngress, 2});
    book.Add({3, Stage::kAggregation, 3});  // also linked to ingress, which stays down
    for (size_t i = 0; i < ups.size(); ++i) {
      EXPECT_FALSE(book.Connected(1));
      ASSERT_TRUE(book.MarkUp(ups[i].producer, ups[i].consumer, ups[i].sender));
    }
    EXPECT_TRUE(book.Connected(1));
    EXPECT_FALSE(book.Connected(3));
  } while (std::next_permutation(ups.begin(), ups.end()));
}

}  // namespace
}  // namespace millrace
