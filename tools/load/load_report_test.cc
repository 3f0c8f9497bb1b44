#include <nlohmann/json.hpp>

#include "common/clock.h"
#include "gtest/gtest.h"
#include "tools/load/load.h"

namespace millrace {
namespace {

TEST(LoadReportTest, PercentilesAreNearestRanks) {
  LoadReport report;
  EXPECT_EQ(report.PercentileNs(0.5), 0);
  for (int64_t i = 0; i <= 100; ++i) report.latencies_ns.push_back(i * 10);
  EXPECT_EQ(report.PercentileNs(0), 0);
  EXPECT_EQ(report.PercentileNs(0.5), 500);
  EXPECT_EQ(report.PercentileNs(0.99), 990);
  EXPECT_EQ(report.PercentileNs(1), 1000);
  report.latencies_ns = {7};
  EXPECT_EQ(report.PercentileNs(0), 7);
  EXPECT_EQ(report.PercentileNs(0.999), 7);
}

TEST(LoadReportTest, PartsAddUp) {
  LoadReport all, part;
  all.sent = 2;
  all.answered = 2;
  all.latencies_ns = {5, 9};
  all.seconds = 1;
  part.sent = 3;
  part.answered = 1;
  part.mismatched = 1;
  part.failed = 1;
  part.retried = 4;
  part.failures = {{"14 lost", 1}};
  part.latencies_ns = {7, 6};
  part.seconds = 2;
  all.Add(part);
  EXPECT_EQ(all.sent, 5);
  EXPECT_EQ(all.answered, 3);
  EXPECT_EQ(all.latencies_ns, (std::vector<int64_t>{5, 6, 7, 9}));
  EXPECT_EQ(all.RequestsPerSecond(), 1.5);
  const auto json = nlohmann::json::parse(all.ToJson());
  EXPECT_EQ(json["mismatched"], 1);
  EXPECT_EQ(json["retried"], 4);
  EXPECT_EQ(json["failures"]["14 lost"], 1);
  EXPECT_EQ(json["requests_per_s"], 1.5);
  EXPECT_EQ(json["p50_us"], 0.007);
  const std::string text = all.ToText();
  EXPECT_NE(text.find("sent 5, answered 4, failed 1, with other bytes than expected 1, "
                      "tried again 4\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("1 x 14 lost\n"), std::string::npos) << text;
}

TEST(LoadReportTest, AnEmptyReportHasNoRate) { EXPECT_EQ(LoadReport().RequestsPerSecond(), 0); }

TEST(MayStartTest, CountTimeAndStop) {
  LoadOptions options;
  const int64_t later = MonotonicNanos() + kNanosPerSecond * 60;
  options.requests = 3;
  EXPECT_TRUE(MayStart(options, 2, later));
  EXPECT_FALSE(MayStart(options, 3, later));
  EXPECT_FALSE(MayStart(options, 0, 0)) << "the time is over";
  options.duration_ms = 0;
  EXPECT_TRUE(MayStart(options, 0, 0)) << "by count alone";
  options.requests = 0;
  EXPECT_TRUE(MayStart(options, 1'000'000, 0)) << "until it is stopped";
  std::atomic<bool> stop = true;
  options.stop = &stop;
  EXPECT_FALSE(MayStart(options, 0, 0));
}

TEST(MatchesTest, EveryOutputBitForBit) {
  GoldenRequest golden;
  inference::ModelInferResponse response;
  response.add_raw_output_contents("ab");
  EXPECT_TRUE(Matches(golden, response)) << "nothing is expected";
  golden.expected = {"ab"};
  EXPECT_TRUE(Matches(golden, response));
  golden.expected = {"ab", "c"};
  EXPECT_FALSE(Matches(golden, response));
  golden.expected = {"aB"};
  EXPECT_FALSE(Matches(golden, response));
}

}  // namespace
}  // namespace millrace
