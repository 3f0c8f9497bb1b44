#include "services/supervisor/golden_report.h"

#include <gtest/gtest.h>

#include "common/clock.h"

namespace millrace {
namespace {

constexpr int64_t kNow = 50 * kNanosPerSecond;

class GoldenReportTest : public ::testing::Test {
 protected:
  GoldenReportTest() {
    model_.set_route(9);
    for (GoldenWords* words : {&first_, &second_}) {
      words->ready_until_ns.Set(kNow + 1);
      words->count.Set(2);
      words->models[0].route.Set(8);
      words->models[1].route.Set(9);
      words->models[1].good_ns.Set(kNow - 300 * kNanosPerMilli);
      words->models[1].good_until_ns.Set(kNow + 1);
    }
  }
  nlohmann::json Report() { return GoldenReport({&first_, &second_}, model_, kNow); }
  bool Ready() { return GoldenReady({&first_, &second_}, kNow); }

  Model model_;
  GoldenWords first_ = {}, second_ = {};
};

TEST_F(GoldenReportTest, EveryLaneMustBeReady) {
  EXPECT_TRUE(Ready());
  EXPECT_EQ(Report(), nlohmann::json::parse(
                          R"({"ready":true,"age_ms":300,"last_failure":null,
                              "last_failure_age_ms":null})"));
  second_.ready_until_ns.Set(kNow - 1);  // it was not renewed
  second_.models[1].good_until_ns.Set(kNow - 1);
  EXPECT_FALSE(Ready());
  EXPECT_EQ(Report()["ready"], false);
  EXPECT_TRUE(GoldenReady({}, kNow));
}

TEST_F(GoldenReportTest, TheOldestAgeAndTheLastFailureAreTold) {
  first_.models[1].good_ns.Set(kNow - 2 * kNanosPerSecond);
  first_.models[1].failure_ns.Set(kNow - 9 * kNanosPerMilli);
  first_.models[1].failure.Set(static_cast<uint64_t>(GoldenFailure::kError) | 13 << 8);
  second_.models[1].failure_ns.Set(kNow - 10 * kNanosPerMilli);
  second_.models[1].failure.Set(static_cast<uint64_t>(GoldenFailure::kWrong));
  const nlohmann::json report = Report();
  EXPECT_EQ(report["age_ms"], 2000);
  EXPECT_EQ(report["last_failure"], "answered INTERNAL");
  EXPECT_EQ(report["last_failure_age_ms"], 9);
  second_.models[1].good_ns.Set(0);
  EXPECT_TRUE(Report()["age_ms"].is_null()) << "one lane has had none";
}

TEST_F(GoldenReportTest, AModelThatNoLaneKnowsIsNotReady) {
  model_.set_route(77);
  EXPECT_EQ(Report()["ready"], false);
  first_.count.Set(UINT64_MAX);  // whatever a page holds
  EXPECT_EQ(Report()["ready"], false);
}

}  // namespace
}  // namespace millrace
