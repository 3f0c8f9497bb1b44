#include "tools/millrace/load_options.h"

#include "gtest/gtest.h"

namespace millrace {
namespace {

TEST(LoadOptionsTest, ListsOfNumbers) {
  EXPECT_EQ(*ParseNumbers("--rate", "1000,2.5", 1e6), (std::vector<double>{1000, 2.5}));
  for (const char* bad : {"", "1,", "x", "0", "-1", "nan", "inf", "1e7", "1;2"}) {
    const auto numbers = ParseNumbers("--rate", bad, 1e6);
    ASSERT_FALSE(numbers.ok()) << bad;
    EXPECT_NE(numbers.status().message().find("--rate: '"), std::string::npos);
  }
}

TEST(LoadOptionsTest, ListsOfCounts) {
  EXPECT_EQ(*ParseCounts("--in-flight", "1,32", 100), (std::vector<int>{1, 32}));
  for (const char* bad : {"", "1.5", "0", "-3", "101", "99999999999"}) {
    EXPECT_FALSE(ParseCounts("--in-flight", bad, 100).ok()) << bad;
  }
}

TEST(LoadOptionsTest, Shapes) {
  const auto shapes = ParseShapes({"a:1,30", "b:c:4"});
  ASSERT_TRUE(shapes.ok());
  EXPECT_EQ(shapes->at("a"), (std::vector<int64_t>{1, 30}));
  EXPECT_EQ(shapes->at("b:c"), (std::vector<int64_t>{4}));
  EXPECT_TRUE(ParseShapes({})->empty());
  for (const char* bad : {"a", ":1", "a:", "a:1,x", "a:-1"}) {
    EXPECT_FALSE(ParseShapes({bad}).ok()) << bad;
  }
  EXPECT_FALSE(ParseShapes({"a:1", "a:2"}).ok()) << "twice";
}

}  // namespace
}  // namespace millrace
