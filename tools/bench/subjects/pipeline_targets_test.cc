#include "tools/bench/subjects/pipeline_targets.h"

#include "gtest/gtest.h"

namespace millrace {
namespace {

Figures Of(const char* subject, double p50_us, double p99_us, double requests_per_s) {
  Figures figures;
  figures.subject = subject;
  figures.rounds = {{p50_us, p99_us, requests_per_s}};
  return figures;
}

const Claim* Find(const std::vector<Claim>& claims, const std::string& text) {
  for (const Claim& claim : claims) {
    if (claim.text == text) return &claim;
  }
  return nullptr;
}

TEST(PipelineTargetsTest, AClaimIsARatioWithinItsCase) {
  const std::vector<Claim> claims =
      Claims({{false, 1, {Of("millrace", 40, 90, 0), Of("grpc_echo", 25, 60, 0)}},
              {true, 1, {Of("millrace", 1, 1, 0), Of("grpc_echo", 1, 1, 0)}}});
  const Claim* p50 = Find(claims, "p50, 1 in flight: millrace / (grpc_echo + 25 us)");
  ASSERT_NE(p50, nullptr);
  EXPECT_DOUBLE_EQ(p50->value, 0.8);
  EXPECT_TRUE(p50->holds());
  const Claim* p99 = Find(claims, "p99, 1 in flight: millrace / grpc_echo");
  ASSERT_NE(p99, nullptr);
  EXPECT_DOUBLE_EQ(p99->value, 1.5);
  EXPECT_FALSE(p99->holds()) << "at most 1.3 is asked";
}

TEST(PipelineTargetsTest, MoreIsBetterForThroughput) {
  const auto holds = [](double requests_per_s) {
    const std::vector<Claim> claims =
        Claims({{true, 32, {Of("millrace", 1, 1, requests_per_s), Of("grpc_echo", 1, 1, 1000)}}});
    return claims.at(0).holds();
  };
  EXPECT_TRUE(holds(750));
  EXPECT_FALSE(holds(740));
}

// The machine was ten times slower in two rounds, for one subject or the other first.
TEST(PipelineTargetsTest, ARatioIsTheMedianOfTheRounds) {
  Figures ours = Of("millrace", 1, 1, 900), theirs = Of("grpc_echo", 1, 1, 1000);
  for (const auto& [a, b] : {std::pair(90, 100), std::pair(70, 100), std::pair(900, 1000)}) {
    ours.rounds.push_back({1, 1, static_cast<double>(a)});
    theirs.rounds.push_back({1, 1, static_cast<double>(b)});
  }
  EXPECT_DOUBLE_EQ(Claims({{true, 32, {ours, theirs}}}).at(0).value, 0.9);
  theirs.rounds.pop_back();
  EXPECT_TRUE(Claims({{true, 32, {ours, theirs}}}).empty()) << "no pairs";
}

TEST(PipelineTargetsTest, WhatWasNotMeasuredIsNoClaim) {
  EXPECT_TRUE(Claims({{false, 1, {Of("triton", 1, 1, 1), Of("mlserver", 1, 1, 1)}}}).empty());
}

}  // namespace
}  // namespace millrace
