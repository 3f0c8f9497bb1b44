#include <nlohmann/json.hpp>

#include "gtest/gtest.h"
#include "tools/load/load.h"
#include "tools/load/transport.h"

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

TEST(LoadReportTest, EveryCountIsTold) {
  LoadReport all;
  all.sent = 5;
  all.answered = 3;
  all.mismatched = 1;
  all.failed = 1;
  all.retried = 4;
  all.failures = {{"14 lost", 1}};
  all.latencies_ns = {5, 6, 7, 9};
  all.seconds = 2;
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
