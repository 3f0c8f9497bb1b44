#include "common/trace_context.h"

#include <gtest/gtest.h>

#include <set>

namespace millrace {
namespace {

constexpr char kTrace[] = "4bf92f3577b34da6a3ce929d0e0e4736";
constexpr char kSpan[] = "00f067aa0ba902b7";

std::string Parent(const std::string& version, const std::string& trace, const std::string& span,
                   const std::string& flags) {
  return version + "-" + trace + "-" + span + "-" + flags;
}

TEST(TraceContext, ReadsWhatItWrites) {
  const auto context = ParseTraceParent(Parent("00", kTrace, kSpan, "01"));
  ASSERT_TRUE(context.has_value());
  EXPECT_EQ(HexOf(context->trace), kTrace);
  EXPECT_EQ(HexOf(context->span), kSpan);
  EXPECT_TRUE(context->sampled);
  EXPECT_EQ(FormatTraceParent(*context), Parent("00", kTrace, kSpan, "01"));
}

TEST(TraceContext, TheSampledFlagIsOneBit) {
  EXPECT_FALSE(ParseTraceParent(Parent("00", kTrace, kSpan, "00"))->sampled);
  EXPECT_FALSE(ParseTraceParent(Parent("00", kTrace, kSpan, "02"))->sampled);
  EXPECT_TRUE(ParseTraceParent(Parent("00", kTrace, kSpan, "03"))->sampled);
  EXPECT_TRUE(ParseTraceParent(Parent("00", kTrace, kSpan, "ff"))->sampled);
}

TEST(TraceContext, WhatIsNotValidIsNone) {
  const std::string zeros(32, '0');
  const std::string wrong[] = {
      "",
      Parent("00", zeros, kSpan, "01"),
      Parent("00", kTrace, zeros.substr(0, 16), "01"),
      Parent("ff", kTrace, kSpan, "01"),
      Parent("00", "4BF92F3577B34DA6A3CE929D0E0E4736", kSpan, "01"),
      Parent("00", kTrace, "00F067AA0BA902B7", "01"),
      Parent("0A", kTrace, kSpan, "01"),
      Parent("00", kTrace, kSpan, "0"),
      Parent("00", kTrace, kSpan, "0g"),
      Parent("00", kTrace, kSpan, "01") + "-more",  // version 00 has no more
      Parent("00", kTrace, kSpan, "01") + " ",
      Parent("01", kTrace, kSpan, "01") + "more",
      Parent("00", std::string(kTrace) + "0", kSpan, "01"),
      Parent("00", std::string(kTrace).substr(1) + "x", kSpan, "01"),
      Parent("00", std::string(kTrace).substr(1), std::string(kSpan) + "0", "01"),
      " " + Parent("00", kTrace, kSpan, "01"),
  };
  for (const std::string& text : wrong) EXPECT_FALSE(ParseTraceParent(text).has_value()) << text;
}

TEST(TraceContext, ALaterVersionIsReadAsFarAsItIsKnown) {
  EXPECT_TRUE(ParseTraceParent(Parent("01", kTrace, kSpan, "01")).has_value());
  EXPECT_TRUE(ParseTraceParent(Parent("cc", kTrace, kSpan, "01") + "-what-comes").has_value());
}

TEST(TraceIds, AreNeverZeroAndDoNotRepeat) {
  TraceIds zero(0), ids = TraceIds::Random(), others = TraceIds::Random();
  std::set<uint64_t> seen;
  for (int i = 0; i < 10'000; ++i) {
    for (TraceIds* from : {&zero, &ids, &others}) {
      const uint64_t span = from->Span();
      EXPECT_NE(span, 0u);
      EXPECT_TRUE(seen.insert(span).second);
      EXPECT_TRUE(from->Trace().valid());
    }
  }
}

}  // namespace
}  // namespace millrace
