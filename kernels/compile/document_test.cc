#include "kernels/compile/document.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

namespace millrace {
namespace {

using ::testing::HasSubstr;
using std::string_literals::operator""s;

std::string Message(const absl::Status& status) { return std::string(status.message()); }

TEST(ParseJsonTextTest, NumbersAreTheNearestFloatOfTheirText) {
  // Just above the middle of two floats: through a double it would round twice, down to 1.
  const auto document = ParseJsonText("[1.000000059604644775390625000001,1E-1,7,-3,1e-45]");
  ASSERT_TRUE(document.ok()) << document.status();
  EXPECT_EQ((*document)[0].get<float>(), 1.00000011920928955078f);
  EXPECT_EQ((*document)[1].get<float>(), 0.1f);
  EXPECT_EQ((*document)[2].get<float>(), 7.0f);
  EXPECT_EQ((*document)[4].get<float>(), 1e-45f);
}

TEST(ParseJsonTextTest, BareNonFiniteNumbersAreRead) {
  const auto document =
      ParseJsonText(R"({"a":[NaN, Infinity,-Infinity,1],"NaN":"Infinity \" NaN"})");
  ASSERT_TRUE(document.ok()) << document.status();
  const Place root = {&*document, ""};
  const auto values = ReadFloats(root, "a");
  ASSERT_TRUE(values.ok()) << values.status();
  EXPECT_TRUE(std::isnan((*values)[0]));
  EXPECT_EQ((*values)[1], HUGE_VALF);
  EXPECT_EQ((*values)[2], -HUGE_VALF);
  EXPECT_EQ(*ReadText(root, "NaN"), "Infinity \" NaN");
}

TEST(ParseJsonTextTest, RefusesWhatIsNoDocument) {
  for (const char* text : {"", " ", "{", "[1,", "{\"a\":}", "nul", "[1] 2", "[N]", "[Nan]", "[-]",
                           "[1e400]", "\"\xff\"", "{\"a\" 1}", "[\"\\u12\"]"}) {
    EXPECT_FALSE(ParseJsonText(text).ok()) << text;
  }
}

TEST(ParseJsonTextTest, RefusesDepthAndDuplicates) {
  EXPECT_TRUE(ParseJsonText(std::string(kMaxDepth, '[') + std::string(kMaxDepth, ']')).ok());
  EXPECT_THAT(Message(ParseJsonText(std::string(kMaxDepth + 1, '[')).status()),
              HasSubstr("nested deeper"));
  EXPECT_THAT(Message(ParseJsonText(std::string(1 << 20, '[')).status()),
              HasSubstr("nested deeper"));
  EXPECT_THAT(Message(ParseJsonText(R"({"a":1,"b":{"a":2},"a":3})").status()),
              HasSubstr("\"a\" is given twice"));
}

TEST(ParseUbjsonTest, ReadsXgboostsDialect) {
  // {"a":[$d#L2 1.5 nan],"b":[$l#L1 -1],"c":[$U#L1 255],"d":[$L#L0],"s":"xy"}, lengths in L.
  const std::string nan = "\x7f\xc0\x00\x00"s;
  const std::string one = "\0\0\0\0\0\0\0\x01"s, two = "\0\0\0\0\0\0\0\x02"s, zero(8, '\0');
  const auto key = [&one](char c) { return "L" + one + c; };
  const std::string bytes = "{" + key('a') + "[$d#L" + two + "\x3f\xc0\x00\x00"s + nan + key('b') +
                            "[$l#L" + one + "\xff\xff\xff\xff" + key('c') + "[$U#L" + one + "\xff" +
                            key('d') + "[$L#L" + zero + key('s') + "SL" + two + "xy}";
  const auto document = ParseUbjson(bytes);
  ASSERT_TRUE(document.ok()) << document.status();
  const Place root = {&*document, ""};
  const auto floats = ReadFloats(root, "a");
  ASSERT_TRUE(floats.ok()) << floats.status();
  EXPECT_EQ((*floats)[0], 1.5f);
  EXPECT_TRUE(std::isnan((*floats)[1]));
  EXPECT_EQ(*ReadIntegers(root, "b"), std::vector<int64_t>{-1});
  EXPECT_EQ(*ReadIntegers(root, "c"), std::vector<int64_t>{255});
  EXPECT_TRUE(ReadIntegers(root, "d")->empty());
  EXPECT_EQ(*ReadText(root, "s"), "xy");
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    EXPECT_FALSE(ParseUbjson(bytes.substr(0, cut)).ok()) << cut;
  }
}

TEST(ParseUbjsonTest, HostileLengthsAndDepth) {
  EXPECT_FALSE(ParseUbjson("[$d#L\x7f\xff\xff\xff\xff\xff\xff\xff").ok());
  EXPECT_FALSE(ParseUbjson("[$d#L\xff\xff\xff\xff\xff\xff\xff\xff").ok());
  EXPECT_FALSE(ParseUbjson("{L\x7f\xff\xff\xff\xff\xff\xff\xff").ok());
  EXPECT_THAT(Message(ParseUbjson(std::string(1 << 20, '[')).status()), HasSubstr("nested deeper"));
  EXPECT_THAT(Message(ParseUbjson("[" + std::string(1 << 20, '{')).status()),
              HasSubstr("not a well-formed"));
}

TEST(AccessTest, FaultsNameThePath) {
  const auto document = ParseJsonText(
      R"({"o":{"i":"12","n":7,"bad":"1x","big":"99999999999999999999","list":[1,2.5,"x"],)"
      R"("flags":[true,false,1]}})");
  ASSERT_TRUE(document.ok()) << document.status();
  const auto object = Member({&*document, ""}, "o");
  ASSERT_TRUE(object.ok());
  EXPECT_EQ(*ReadInteger(*object, "i", 0, 100), 12);
  EXPECT_EQ(*ReadInteger(*object, "n", 0, 100), 7);
  EXPECT_EQ(Message(ReadInteger(*object, "i", 0, 10).status()), "o.i: 12 is not in 0 to 10");
  EXPECT_EQ(Message(ReadInteger(*object, "bad", 0, 9).status()),
            "o.bad: must be an integer, is \"1x\"");
  EXPECT_FALSE(ReadInteger(*object, "big", 0, INT64_MAX).ok());
  EXPECT_EQ(Message(ReadInteger(*object, "none", 0, 9).status()), "o.none: is missing");
  EXPECT_EQ(Message(ReadIntegers(*object, "list").status()),
            "o.list[1]: must be an integer, is number");
  EXPECT_EQ(Message(ReadFloats(*object, "list").status()), "o.list[2]: must be a number, is \"x\"");
  EXPECT_EQ(Message(ReadFloats(*object, "i").status()), "o.i: must be an array, is string");
  EXPECT_EQ(Message(ReadText(*object, "n").status()), "o.n: must be a string, is number");
  EXPECT_EQ(*ReadIntegers(*object, "flags"), (std::vector<int64_t>{1, 0, 1}));
  EXPECT_EQ(Message(OnlyMembers(*object, {"i", "n", "bad", "big", "list"})),
            "o.flags: is not supported");
}

}  // namespace
}  // namespace millrace
