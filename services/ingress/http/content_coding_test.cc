#include "services/ingress/http/content_coding.h"

#include <gtest/gtest.h>

#include "services/ingress/http/body.h"
#include "services/ingress/http/packed_for_test.h"
#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

constexpr size_t kMost = 1 << 20;

std::string Text() {
  std::string text;
  for (int i = 0; i < 400; ++i) Append(&text, i * i, i % 7 == 0 ? "," : " word ");
  return text;
}

class Unpacking : public ::testing::Test {
 protected:
  absl::StatusCode Code(Coding coding, std::string_view in, size_t most = kMost) {
    const absl::Status status = unpacker_.Unpack(coding, in, most, &out_);
    if (status.ok()) {
      EXPECT_GE(out_.capacity(), out_.size() + kBodyPadding);
    } else {
      EXPECT_TRUE(out_.empty());
      EXPECT_TRUE(Message(status).starts_with("Content-Encoding: ")) << status;
    }
    return status.code();
  }
  void ExpectBroken(Coding coding, std::string_view in) {
    EXPECT_EQ(Code(coding, in), absl::StatusCode::kInvalidArgument);
  }

  Unpacker unpacker_;
  std::string out_;
};

TEST_F(Unpacking, BothForms) {
  for (const std::string& text : {std::string(), std::string("x"), Text(), Noise(300'000)}) {
    for (int level : {0, 1, 9}) {
      EXPECT_EQ(Code(Coding::kGzip, Gzip(text, level)), absl::StatusCode::kOk);
      EXPECT_EQ(out_, text);
      EXPECT_EQ(Code(Coding::kDeflate, Zlib(text, level)), absl::StatusCode::kOk);
      EXPECT_EQ(out_, text);
    }
  }
}

TEST_F(Unpacking, TruncatedAnywhere) {
  const std::string gzip = Gzip(Text());
  const std::string zlib = Zlib(Text());
  for (size_t i = 0; i < gzip.size(); ++i) ExpectBroken(Coding::kGzip, gzip.substr(0, i));
  for (size_t i = 0; i < zlib.size(); ++i) ExpectBroken(Coding::kDeflate, zlib.substr(0, i));
}

TEST_F(Unpacking, WrongChecksumOrLength) {
  for (size_t i = 1; i <= 8; ++i) {
    std::string gzip = Gzip(Text());
    gzip[gzip.size() - i] ^= 1;
    ExpectBroken(Coding::kGzip, gzip);
  }
  for (size_t i = 1; i <= 4; ++i) {
    std::string zlib = Zlib(Text());
    zlib[zlib.size() - i] ^= 1;
    ExpectBroken(Coding::kDeflate, zlib);
  }
}

TEST_F(Unpacking, WhatFollows) {
  for (std::string_view tail : {std::string_view("x"), std::string_view("\0", 1),
                                std::string_view("\x1f\x8b"), std::string_view("\n")}) {
    ExpectBroken(Coding::kGzip, Gzip("text") + std::string(tail));
    ExpectBroken(Coding::kDeflate, Zlib("text") + std::string(tail));
  }
  EXPECT_EQ(Code(Coding::kGzip, Gzip("one ") + Gzip("") + Gzip("two")), absl::StatusCode::kOk);
  EXPECT_EQ(out_, "one two");
  ExpectBroken(Coding::kDeflate, Zlib("one") + Zlib("two"));
  std::string damaged = Gzip("two");
  damaged[damaged.size() - 6] ^= 1;
  ExpectBroken(Coding::kGzip, Gzip("one ") + damaged);
}

TEST_F(Unpacking, TheOtherForm) {
  ExpectBroken(Coding::kGzip, Zlib("text"));
  ExpectBroken(Coding::kDeflate, Gzip("text"));
  const std::string zlib = Zlib("text");
  ExpectBroken(Coding::kDeflate, zlib.substr(2, zlib.size() - 6));  // bare
  ExpectBroken(Coding::kGzip, "text");
  ExpectBroken(Coding::kGzip, "");
}

TEST_F(Unpacking, TheLimitIsExact) {
  for (const size_t most : {size_t{0}, size_t{1}, size_t{100}, size_t{40'000}}) {
    const std::string text(most, 'a');
    for (const Coding coding : {Coding::kGzip, Coding::kDeflate}) {
      const auto pack = [&](const std::string& in) {
        return coding == Coding::kGzip ? Gzip(in) : Zlib(in);
      };
      EXPECT_EQ(Code(coding, pack(text), most), absl::StatusCode::kOk);
      EXPECT_EQ(out_, text);
      EXPECT_EQ(Code(coding, pack(text + "a"), most), absl::StatusCode::kOutOfRange);
    }
  }
  EXPECT_EQ(Code(Coding::kGzip, Gzip(std::string(60, 'a')) + Gzip(std::string(60, 'a')), 100),
            absl::StatusCode::kOutOfRange);
}

// 200 MB in 200 KB: the string grows up to the limit (by doubling), and no further.
TEST_F(Unpacking, ABombIsCheap) {
  const std::string bomb = Gzip(std::string(200'000'000, '\0'));
  ASSERT_LT(bomb.size(), 300'000u);
  EXPECT_EQ(Code(Coding::kGzip, bomb), absl::StatusCode::kOutOfRange);
  EXPECT_LE(out_.capacity(), 2 * kMost);
  std::string members;
  for (int i = 0; i < 100'000; ++i) members += "\x1f\x8b\x08";
  ExpectBroken(Coding::kGzip, members);
  const std::string nothing = Gzip("");
  members.clear();
  for (int i = 0; i < 50'000; ++i) members += nothing;
  EXPECT_EQ(Code(Coding::kGzip, members), absl::StatusCode::kOk);
  EXPECT_EQ(out_, "");
}

// Property: a damaged stream is refused, or its text is the one that was packed.
TEST_F(Unpacking, DamageIsNeverAnotherText) {
  const std::string text = Text();
  const std::string streams[] = {Gzip(text, 1), Zlib(text, 9), Gzip(text, 0)};
  uint64_t random = 7;
  const auto below = [&](size_t bound) {
    random = random * 6364136223846793005 + 1442695040888963407;
    return static_cast<size_t>(random >> 33) % bound;
  };
  int same = 0;
  for (int i = 0; i < 20'000; ++i) {
    const size_t which = below(3);
    std::string stream = streams[which];
    for (size_t n = below(3) + 1; n > 0; --n) {
      const size_t at = below(below(2) == 0 ? 20 : stream.size());
      if (below(8) == 0) stream.erase(at, below(4));
      stream[std::min(at, stream.size() - 1)] ^= static_cast<char>(1 << below(8));
    }
    const absl::StatusCode code =
        Code(which == 1 ? Coding::kDeflate : Coding::kGzip, stream, 10'000);
    if (code == absl::StatusCode::kOk) {
      ++same;
      ASSERT_EQ(out_, text);
    } else {
      ASSERT_TRUE(code == absl::StatusCode::kInvalidArgument ||
                  code == absl::StatusCode::kOutOfRange);
    }
  }
  EXPECT_GT(same, 10);  // a header's time or system may change
  EXPECT_LT(same, 10'000);
}

TEST(Packing, ComesBack) {
  Packer packer;
  Unpacker unpacker;
  std::string packed;
  std::string out;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(packer.Pack(Text(), std::string(5000, 'z'), &packed));
    EXPECT_LT(packed.size(), Text().size());
    ASSERT_TRUE(unpacker.Unpack(Coding::kGzip, packed, kMost, &out).ok());
    EXPECT_EQ(out, Text() + std::string(5000, 'z'));
    ASSERT_TRUE(packer.Pack("", Text(), &packed));
    ASSERT_TRUE(unpacker.Unpack(Coding::kGzip, packed, kMost, &out).ok());
    EXPECT_EQ(out, Text());
    // Not smaller: not done, and the next one is as good as ever.
    EXPECT_FALSE(packer.Pack(Noise(50'000), Noise(100), &packed));
    EXPECT_FALSE(packer.Pack("x", "", &packed));
    EXPECT_FALSE(packer.Pack("", "", &packed));
  }
}

TEST(ContentEncoding, Names) {
  EXPECT_EQ(ParseContentEncoding(""), Coding::kIdentity);
  EXPECT_EQ(ParseContentEncoding("Identity"), Coding::kIdentity);
  EXPECT_EQ(ParseContentEncoding("gzip"), Coding::kGzip);
  EXPECT_EQ(ParseContentEncoding(" X-GZIP "), Coding::kGzip);
  EXPECT_EQ(ParseContentEncoding("deflate"), Coding::kDeflate);
  for (const char* other : {"br", "gzip, gzip", "gzip,", "zstd", "gzip;q=1", "gzi"}) {
    EXPECT_EQ(ParseContentEncoding(other), std::nullopt) << other;
  }
}

TEST(AcceptEncoding, Weights) {
  for (const char* yes : {"gzip", "x-gzip", "*", "br, GZIP", "gzip;q=0.001", "gzip ; q=1.0",
                          "br;q=0,gzip", "*;q=0, gzip", "gzip;x=y;Q=0.5", "gzip;q="}) {
    EXPECT_TRUE(AcceptsGzip(yes)) << yes;
  }
  for (const char* no : {"", "identity", "br", "gzip;q=0", "gzip;q=0.000", "gzip;q=0, *", "*;q=0",
                         ",", ";q=1", "gzip2", "gzip; Q = 0"}) {
    EXPECT_FALSE(AcceptsGzip(no)) << no;
  }
}

}  // namespace
}  // namespace millrace::http
