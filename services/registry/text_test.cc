#include "services/registry/text.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(IsUtf8, TakesEveryCodePointInItsShortestForm) {
  for (uint32_t c = 0; c <= 0x10ffff; c += c < 0x900 ? 1 : 0x3f) {
    if (c >= 0xd800 && c <= 0xdfff) continue;
    std::string text;
    if (c < 0x80) {
      text = {static_cast<char>(c)};
    } else if (c < 0x800) {
      text = {static_cast<char>(0xc0 | c >> 6), static_cast<char>(0x80 | (c & 63))};
    } else if (c < 0x10000) {
      text = {static_cast<char>(0xe0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 63)),
              static_cast<char>(0x80 | (c & 63))};
    } else {
      text = {static_cast<char>(0xf0 | c >> 18), static_cast<char>(0x80 | (c >> 12 & 63)),
              static_cast<char>(0x80 | (c >> 6 & 63)), static_cast<char>(0x80 | (c & 63))};
    }
    ASSERT_TRUE(IsUtf8(text)) << c;
    ASSERT_TRUE(IsUtf8("a" + text + "b")) << c;
    if (c >= 0x80) {
      ASSERT_FALSE(IsUtf8(text.substr(1))) << c;
      ASSERT_FALSE(IsUtf8(text.substr(0, text.size() - 1))) << c;
    }
  }
}

TEST(IsUtf8, RefusesLongFormsSurrogatesAndWhatIsPastTheEnd) {
  for (const char* bad :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xe2\x28\xa1", "\xe2\x82\x28"}) {
    EXPECT_FALSE(IsUtf8(bad)) << Printable(bad);
  }
}

TEST(Printable, EscapesAndCuts) {
  EXPECT_EQ(Printable("plain text"), "plain text");
  EXPECT_EQ(Printable("a\nb\x1b\xff"), "a\\x0ab\\x1b\\xff");
  EXPECT_EQ(Printable(std::string(5000, 'x')).size(), 1000u);
  EXPECT_EQ(Printable(std::string(5000, '\0')).size(), 1000u);
}

TEST(IsPlainName, TakesNoPathAndNoHiddenName) {
  for (const char* good : {"a", "model-1.2_B", "0"}) EXPECT_TRUE(IsPlainName(good)) << good;
  EXPECT_TRUE(IsPlainName(std::string(128, 'a')));
  for (const char* bad : {"", ".", "..", ".a", "a/b", "a b", "a\n", "\xc3\xa4"}) {
    EXPECT_FALSE(IsPlainName(bad)) << bad;
  }
  EXPECT_FALSE(IsPlainName(std::string(129, 'a')));
  EXPECT_FALSE(IsPlainName(std::string("a\0b", 3)));
}

TEST(IsTensorName, TakesWhatReadsAsAName) {
  for (const char* good : {"input__0", "dense/BiasAdd:0", "mean radius",
                           "gr\xc3\xb6\xc3\x9f"
                           "e"}) {
    EXPECT_TRUE(IsTensorName(good)) << good;
  }
  for (const char* bad : {"", " a", "a ", "a\"b", "a\\b", "a\tb", "\xff"}) {
    EXPECT_FALSE(IsTensorName(bad)) << bad;
  }
}

}  // namespace
}  // namespace millrace
