#include "services/registry/watch/change_book.h"

#include <gtest/gtest.h>

#include <set>

namespace millrace {
namespace {

constexpr int64_t kSettle = 100;

class ChangeBookTest : public ::testing::Test {
 protected:
  ChangeBookTest() {
    book_.Saw("m", ModelPrint{"config", {{1, "one"}}}, 0);
    book_.BuiltAll();
  }
  // The versions of m that are due; {-1}: all of it; {}: nothing.
  std::set<int64_t> Due(int64_t now_ns) {
    const std::optional<Reread> due = book_.Due(now_ns);
    // When it is due and when it is said to be are the same.
    EXPECT_EQ(due.has_value(), book_.NextDueNs() <= now_ns);
    if (!due.has_value() || due->models.count("m") == 0) return {};
    const Reread::Versions& versions = due->models.at("m");
    return versions.all ? std::set<int64_t>{-1} : versions.some;
  }
  using Set = std::set<int64_t>;

  ChangeBook book_{kSettle};
};

TEST_F(ChangeBookTest, NothingIsDueOfWhatWasBuilt) {
  book_.Saw("m", ModelPrint{"config", {{1, "one"}}}, 1000);
  EXPECT_EQ(Due(5000), Set{});
  EXPECT_EQ(book_.NextDueNs(), ChangeBook::kNever);
}

TEST_F(ChangeBookTest, AVersionIsDueOnceItStandsStill) {
  book_.Saw("m", ModelPrint{"config", {{1, "one"}, {2, "tw"}}}, 1000);
  EXPECT_EQ(Due(1099), Set{});
  book_.Saw("m", ModelPrint{"config", {{1, "one"}, {2, "two"}}}, 1099);
  EXPECT_EQ(Due(1198), Set{});
  EXPECT_EQ(Due(1199), Set{2});
}

TEST_F(ChangeBookTest, ATouchThatChangesNoPrintStartsTheTimeAnew) {
  book_.Saw("m", ModelPrint{"config", {{1, "one"}, {2, "two"}}}, 1000);
  book_.Touched("m", 2, 1050);
  EXPECT_EQ(Due(1149), Set{});
  EXPECT_EQ(Due(1150), Set{2});
}

TEST_F(ChangeBookTest, WhatWasRenamedIntoPlaceIsDueAtOnceUntilItIsTouched) {
  book_.Saw("m", ModelPrint{"config", {{1, "one"}, {2, "two"}}}, 1000);
  book_.Completed("m", 2);
  EXPECT_EQ(Due(1000), Set{2});
  book_.Touched("m", 2, 1001);
  EXPECT_EQ(Due(1001), Set{});
  book_.Completed("m", 2);
  book_.Saw("m", ModelPrint{"config", {{1, "one"}, {2, "other"}}}, 1002);
  EXPECT_EQ(Due(1002), Set{});
}

TEST_F(ChangeBookTest, ASettledVersionDoesNotWaitForOneThatIsBeingWritten) {
  book_.Saw("m", ModelPrint{"config", {{1, "one"}, {2, "two"}}}, 1000);
  book_.Saw("m", ModelPrint{"config", {{1, "on"}, {2, "two"}, {3, "th"}}}, 1090);
  EXPECT_EQ(Due(1100), Set{2});
  const Reread reread = *book_.Due(1100);
  EXPECT_EQ(reread.unsettled, (std::set<std::pair<std::string, int64_t>>{{"m", 1}, {"m", 3}}));
  book_.Built(reread);
  EXPECT_EQ(Due(1189), Set{});
  EXPECT_EQ(Due(1190), (Set{1, 3}));
}

TEST_F(ChangeBookTest, NothingOfAModelIsDueWhileItsOwnFilesChange) {
  book_.Saw("m", ModelPrint{"config", {{1, "one"}, {2, "two"}}}, 1000);
  book_.Completed("m", 2);
  book_.Saw("m", ModelPrint{"confi", {{1, "one"}, {2, "two"}}}, 1001);
  EXPECT_EQ(Due(1100), Set{});
  EXPECT_EQ(Due(1101), Set{-1});
}

TEST_F(ChangeBookTest, ANewModelIsDueWhenAllOfItIsSettled) {
  book_.Saw("n", ModelPrint{"config", {}}, 1000);
  book_.Saw("n", ModelPrint{"config", {{1, "on"}}}, 1090);
  EXPECT_FALSE(book_.Due(1150).has_value());
  book_.Saw("n", ModelPrint{"config", {{1, "one"}}}, 1150);
  EXPECT_FALSE(book_.Due(1249).has_value());
  EXPECT_EQ(book_.Due(1250)->models.count("n"), 1u);
}

TEST_F(ChangeBookTest, AModelWhoseFolderLeftIsGoneOnceItStaysAway) {
  book_.Saw("m", std::nullopt, 1000);
  EXPECT_FALSE(book_.Due(1099).has_value());
  const std::optional<Reread> due = book_.Due(1100);
  ASSERT_TRUE(due.has_value());
  EXPECT_EQ(due->gone, (std::set<std::string>{"m"}));
  book_.Built(*due);
  EXPECT_EQ(book_.NextDueNs(), ChangeBook::kNever);
  EXPECT_TRUE(book_.IsEmpty());
}

TEST_F(ChangeBookTest, AModelThatComesBackAsItWasIsNoChange) {
  book_.Saw("m", std::nullopt, 1000);
  book_.Saw("m", ModelPrint{"config", {{1, "one"}}}, 1050);
  EXPECT_FALSE(book_.Due(9000).has_value());
}

TEST_F(ChangeBookTest, AVersionThatLeftIsDueOnceItStaysAway) {
  book_.Saw("m", ModelPrint{"config", {}}, 1000);
  EXPECT_EQ(Due(1099), Set{});
  EXPECT_EQ(Due(1100), Set{1});
}

TEST_F(ChangeBookTest, NamesThatNeverWereAModelLeaveNothing) {
  book_.Touched("junk", 0, 1000);
  book_.Saw("junk", std::nullopt, 1000);
  book_.Touched("m", 7, 1000);
  book_.Saw("m", ModelPrint{"config", {{1, "one"}}}, 1000);
  EXPECT_EQ(book_.Models(), (std::vector<std::string>{"m"}));
  EXPECT_EQ(book_.NextDueNs(), ChangeBook::kNever);
}

}  // namespace
}  // namespace millrace
