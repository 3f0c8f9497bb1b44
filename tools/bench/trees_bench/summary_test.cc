#include "tools/bench/trees_bench/summary.h"

#include <gtest/gtest.h>

#include <map>

namespace millrace::bench {
namespace {

Timing Of(const std::string& subject, std::vector<double> call_ns) {
  return {.subject = subject, .exact = true, .call_ns = std::move(call_ns), .distances = {}};
}

Figure With(const std::string& test_case, size_t batch, const std::string& subject, double ratio) {
  return {.test_case = test_case,
          .subject = subject,
          .batch = batch,
          .exact = true,
          .call_ns = 1000 * ratio,
          .call_ns_p25 = 0,
          .call_ns_p75 = 0,
          .ratio = ratio,
          .distances = {}};
}

TEST(FiguresTest, AreMediansAndQuartilesPerCallAndRow) {
  const auto figures = Figures("a", 4, {Of(kOurs, {50, 10, 40, 20, 30, 60, 70, 80})});
  ASSERT_EQ(figures.size(), 1u);
  EXPECT_EQ(figures[0].call_ns, 40);
  EXPECT_EQ(figures[0].call_ns_p25, 20);
  EXPECT_EQ(figures[0].call_ns_p75, 60);
  EXPECT_EQ(figures[0].row_ns(), 10);
  EXPECT_EQ(figures[0].ratio, 1);
}

TEST(FiguresTest, RatiosAreOfTheSameRound) {
  // The medians, 40 over 20, would say 2.
  const auto figures = Figures("a", 1, {Of(kOurs, {10, 20, 100}), Of("peer", {40, 30, 150})});
  EXPECT_EQ(figures[1].ratio, 1.5);
  const auto uneven = Figures("a", 1, {Of("peer", {30, 10, 50}), Of(kOurs, {10, 10, 10})});
  EXPECT_EQ(uneven[0].ratio, 3);
  EXPECT_EQ(uneven[0].subject, "peer");
}

TEST(FiguresDeathTest, NeedOurOwn) {
  EXPECT_DEATH(Figures("a", 1, {Of("peer", {1})}), "ratios need our own timing");
}

TEST(ClaimsTest, StandBesideTheFastestVersionAtTheRightPlace) {
  const auto lines =
      Claims({With("xgb_500x6", 1, kOurs, 1), With("xgb_500x6", 1, "xgboost_3.2", 30),
              With("xgb_500x6", 1, "xgboost_1.7", 6.04), With("xgb_500x6", 1, "onnxruntime", 2.96),
              With("xgb_500x6", 16, "xgboost_1.7", 1.5), With("xgb_100x4", 1, "xgboost_1.7", 1.4)});
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0], "batch 1, xgb_500x6: 6.0 x xgboost_1.7 (at least 6 asked: yes)");
  EXPECT_EQ(lines[1], "batch 1, xgb_500x6: 3.0 x onnxruntime (at least 3 asked: NO)");
  EXPECT_EQ(lines[2], "ahead in 5 of 5 comparisons");
}

TEST(ClaimsTest, NameEveryPeerThatIsNotBehind) {
  const auto lines = Claims({With("a", 64, kOurs, 1), With("a", 64, "lightgbm", 0.8),
                             With("a", 64, "onnxruntime", 1.001), With("b", 1, "xgboost", 1.0)});
  EXPECT_EQ(lines, (std::vector<std::string>{
                       "batch 1, xgb_500x6: xgboost was not measured",
                       "batch 1, xgb_500x6: onnxruntime was not measured",
                       "ahead in 1 of 3 comparisons; not in:",
                       "  a, batch 64: lightgbm takes 0.80 of our time",
                       "  b, batch 1: xgboost takes 1.00 of our time",
                   }));
}

TEST(ClaimsTest, SayWhenThereWasNobody) {
  EXPECT_EQ(Claims({With("a", 1, kOurs, 1)}).back(), "ahead of all peers: no peer was measured");
}

TEST(JsonRowsTest, NameCaseSubjectMetricAndUnit) {
  Figure figure = With("a", 16, "onnxruntime", 2);
  figure.call_ns = 32'000;
  figure.distances = {.compared = 9, .unequal = 3, .max_ulp = 7, .max_difference = 0.5};
  std::map<std::string, std::pair<std::string, double>> found;
  for (const Row& row : JsonRows({figure})) {
    EXPECT_EQ(row.test_case, "a, batch 16");
    EXPECT_EQ(row.subject, "onnxruntime");
    found[row.metric] = {row.unit, row.value};
  }
  EXPECT_EQ(found.at("call"), std::make_pair(std::string("us"), 32.0));
  EXPECT_EQ(found.at("row"), std::make_pair(std::string("ns"), 2000.0));
  EXPECT_EQ(found.at("time_over_ours"), std::make_pair(std::string("ratio"), 2.0));
  EXPECT_EQ(found.at("unequal_margins"), std::make_pair(std::string("margins"), 3.0));
  EXPECT_EQ(found.at("max_distance"), std::make_pair(std::string("ulp"), 7.0));
  EXPECT_EQ(found.at("max_difference"), std::make_pair(std::string("margin"), 0.5));
}

}  // namespace
}  // namespace millrace::bench
