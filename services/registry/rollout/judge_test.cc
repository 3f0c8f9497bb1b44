#include "services/registry/rollout/judge.h"

#include <math.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "ipc/stats_words.h"
#include "services/registry/rollout/evidence.h"

namespace millrace {
namespace {

double Choose(int n, int k) {
  double result = 1;
  for (int i = 1; i <= k; ++i) result = result * (n - k + i) / i;
  return result;
}

// Fisher's tea: 3 of 4 or better by chance is 17 of 70.
TEST(Evidence, FishersTea) { EXPECT_NEAR(FisherGreater(3, 4, 1, 4), 17.0 / 70, 1e-12); }

TEST(Evidence, FisherIsTheTailOfTheHypergeometric) {
  for (int x = 0; x <= 12; ++x) {
    for (int y = 0; y <= 9; ++y) {
      double sum = 0;
      for (int k = x; k <= std::min(12, x + y); ++k) {
        sum += Choose(12, k) * Choose(30, x + y - k) / Choose(42, x + y);
      }
      const double p = FisherGreater(x, 12, y, 30);
      if (x / 12.0 <= y / 30.0) {
        EXPECT_EQ(p, 1) << x << " " << y;
      } else {
        EXPECT_NEAR(p, sum, 1e-9) << x << " " << y;
      }
    }
  }
}

TEST(Evidence, FisherOfLargeAndOfImpossibleCounts) {
  EXPECT_LT(FisherGreater(200'000, 1'000'000, 100'000, 1'000'000), 1e-100);
  const double even = FisherGreater(100'100, 10'000'000, 100'000, 10'000'000);
  EXPECT_GT(even, 0.3);
  EXPECT_LT(even, 0.5);
  EXPECT_EQ(FisherGreater(1, 0, 0, 10), 1);
  EXPECT_EQ(FisherGreater(5, 4, 0, 10), 1);
  EXPECT_EQ(FisherGreater(0, 10, 0, 10), 1);
  const double all = FisherGreater(10, 10, 0, 1000);
  EXPECT_GT(all, 0);
  EXPECT_LT(all, 1e-20);
}

// The bound lies above the exact tail of the binomial distribution, and not far.
TEST(Evidence, HoeffdingsBoundHoldsForTheBinomial) {
  const int n = 300;
  const double limit = 0.01;
  for (int x = 4; x <= 20; ++x) {
    double tail = 0;
    for (int k = x; k <= n; ++k) {
      tail += exp(lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0) + k * log(limit) +
                  (n - k) * log1p(-limit));
    }
    const double bound = MeanAbove(x / 300.0, limit, n);
    EXPECT_GE(bound, tail) << x;
    EXPECT_LT(bound, 30 * tail) << x;
  }
  EXPECT_EQ(MeanAbove(0.01, 0.01, 1e6), 1);
  EXPECT_EQ(MeanAbove(1, 0.5, 0), 1);
  EXPECT_NEAR(MeanAbove(1, 0.5, 10), std::pow(0.5, 10), 1e-12);
}

TEST(Evidence, AllLooksTogetherSpendNoMoreThanThereIs) {
  double spent = 0;
  for (uint64_t look = 1; look < 100'000; ++look) spent += SpentAt(look, 0.01);
  EXPECT_LT(spent, 0.01);
  EXPECT_GT(spent, 0.00999);
}

TEST(Evidence, QuantilesOfBuckets) {
  const uint64_t buckets[] = {0, 98, 1, 1, 0};
  EXPECT_EQ(QuantileBucket(buckets, 0.5), 1u);
  EXPECT_EQ(QuantileBucket(buckets, 0.99), 2u);
  EXPECT_EQ(QuantileBucket(buckets, 1), 3u);
  EXPECT_EQ(CountAfter(buckets, 1), 2u);
  EXPECT_EQ(QuantileBucket(absl::Span<const uint64_t>(buckets, 1), 0.5), 1u);
}

RolloutPlan MakePlan() {
  auto plan = ReadPlan({{"name", "churn"}, {"from", "1"}, {"to", "2"}, {"every_ms", 10'000}});
  EXPECT_TRUE(plan.ok()) << plan.status();
  return *plan;
}

void Answer(VersionCounts* counts, uint64_t n, double ms) {
  counts->requests += n;
  counts->answered[TimeBucket(static_cast<uint64_t>(ms * 1e6))] += n;
}
void Fail(VersionCounts* counts, uint64_t n) { counts->requests += n, counts->errors += n; }

StepEvidence Even(int64_t lasted_ms) {
  StepEvidence seen;
  seen.lasted_ms = lasted_ms;
  Answer(&seen.baseline, 10'000, 5);
  Answer(&seen.candidate, 1000, 5);
  seen.compared.copies = seen.compared.rows = 1000;
  seen.compared_now = 1000;
  return seen;
}

Verdict::Kind KindOf(const StepEvidence& seen) { return Judge(MakePlan()).Look(seen).kind; }
std::string ReasonOf(const StepEvidence& seen) { return Judge(MakePlan()).Look(seen).reason; }

TEST(Judge, AStepEndsWellAfterItsTimeOnly) {
  EXPECT_EQ(KindOf(Even(9'999)), Verdict::Kind::kWait);
  EXPECT_EQ(KindOf(Even(10'000)), Verdict::Kind::kPromote);
}

TEST(Judge, WhatIsMissingIsWaitedForAndThenCountsAsFailure) {
  for (int what = 0; what < 3; ++what) {
    StepEvidence seen = Even(10'000);
    if (what == 0) seen.candidate = {}, Answer(&seen.candidate, 199, 5);
    if (what == 1) seen.baseline = {}, Answer(&seen.baseline, 199, 5);
    if (what == 2) seen.compared_now = 199;
    EXPECT_EQ(KindOf(seen), Verdict::Kind::kWait) << what;
    EXPECT_NE(ReasonOf(seen).find("199 "), std::string::npos) << ReasonOf(seen);
    seen.lasted_ms = 40'000;  // patience: three times as long
    EXPECT_EQ(KindOf(seen), Verdict::Kind::kRollBack) << what;
    EXPECT_NE(ReasonOf(seen).find("nothing shows"), std::string::npos) << ReasonOf(seen);
  }
}

TEST(Judge, ErrorsOfTheCandidateAreHeldAgainstTheBaselines) {
  StepEvidence seen = Even(1000);
  Fail(&seen.candidate, 30);
  EXPECT_EQ(KindOf(seen), Verdict::Kind::kRollBack);
  EXPECT_NE(ReasonOf(seen).find("errors: 30 of 1030 requests of version 2, 0 of 10000"),
            std::string::npos)
      << ReasonOf(seen);
  Fail(&seen.baseline, 300);  // it befell both
  EXPECT_EQ(KindOf(seen), Verdict::Kind::kWait);
}

TEST(Judge, AnExcessBelowTheLimitIsLetThroughHoweverCertain) {
  StepEvidence seen = Even(1000);
  Answer(&seen.candidate, 1'000'000, 5);
  Answer(&seen.baseline, 1'000'000, 5);
  Fail(&seen.candidate, 3000);
  EXPECT_EQ(KindOf(seen), Verdict::Kind::kWait);
  Fail(&seen.candidate, 3000);
  EXPECT_EQ(KindOf(seen), Verdict::Kind::kRollBack);
}

TEST(Judge, TheLimitIsAnExcessOverTheBaseline) {
  StepEvidence seen = Even(1000);
  Answer(&seen.candidate, 970'000, 5), Fail(&seen.candidate, 33'000);
  Answer(&seen.baseline, 970'000, 5), Fail(&seen.baseline, 30'000);
  EXPECT_EQ(KindOf(seen), Verdict::Kind::kWait) << "0.3 % more, and certain of it";
}

TEST(Judge, FewCrashesAreEnoughWhereTheBaselineHasNone) {
  StepEvidence seen = Even(1000);
  seen.candidate = {};
  Answer(&seen.candidate, 20, 5);
  seen.candidate.requests += 3, seen.candidate.errors += 3, seen.candidate.internal += 3;
  EXPECT_EQ(KindOf(seen), Verdict::Kind::kRollBack);
  EXPECT_EQ(ReasonOf(seen).find("crashes"), 0u) << ReasonOf(seen);
  seen.baseline.requests += 1500, seen.baseline.errors += 1500, seen.baseline.internal += 1500;
  EXPECT_EQ(KindOf(seen), Verdict::Kind::kWait);
}

TEST(Judge, SlowAnswersByP99AndByMedian) {
  StepEvidence tail = Even(1000);
  Answer(&tail.candidate, 50, 40);
  EXPECT_EQ(ReasonOf(tail).find("slow: 50 of 1050"), 0u) << ReasonOf(tail);
  StepEvidence hidden = Even(1000);  // by a tail that both have
  Answer(&hidden.baseline, 600, 100);
  hidden.candidate = {};
  Answer(&hidden.candidate, 1000, 12);
  Answer(&hidden.candidate, 60, 100);
  EXPECT_NE(ReasonOf(hidden).find("whose p50"), std::string::npos) << ReasonOf(hidden);
  StepEvidence few = Even(1000);  // one in a hundred, by chance
  few.candidate = {};
  Answer(&few.candidate, 60, 5);
  Answer(&few.candidate, 1, 400);
  EXPECT_EQ(KindOf(few), Verdict::Kind::kWait);
  StepEvidence rare = Even(1000);  // certain, and its p99 is within the limit all the same
  Answer(&rare.candidate, 100'000, 5);
  Answer(&rare.candidate, 900, 40);
  EXPECT_EQ(KindOf(rare), Verdict::Kind::kWait);
  StepEvidence within = Even(1000);
  within.candidate = {};
  Answer(&within.candidate, 1000, 7);
  EXPECT_EQ(KindOf(within), Verdict::Kind::kWait);
}

TEST(Judge, ChangedDecisionsAndLosses) {
  StepEvidence seen = Even(1000);
  seen.compared.changed = 30;
  EXPECT_EQ(ReasonOf(seen).find("changed decisions: 0.03"), 0u) << ReasonOf(seen);
  seen = Even(1000);
  seen.compared.cosine_loss_ppm = 1000 * 200'000;
  EXPECT_EQ(ReasonOf(seen).find("cosine loss: 0.2"), 0u) << ReasonOf(seen);
  seen = Even(1000);
  seen.compared.ranked = 200;
  seen.compared.rank_loss_ppm = 200 * 300'000;
  EXPECT_EQ(ReasonOf(seen).find("rank loss: 0.3"), 0u) << ReasonOf(seen);
}

// Rows of one request decide alike: a request is one observation.
TEST(Judge, RowsOfOneRequestAreNotIndependent) {
  StepEvidence seen = Even(1000);
  seen.compared.rows = 100'000;
  seen.compared.changed = 2000;
  EXPECT_EQ(KindOf(seen), Verdict::Kind::kWait);
  seen.compared.copies = 100'000;
  EXPECT_EQ(KindOf(seen), Verdict::Kind::kRollBack);
}

TEST(Judge, AMeanAboveItsLimitIsNotPromotedEvenIfInconclusive) {
  StepEvidence seen = Even(10'000);
  seen.compared.changed = 11;
  EXPECT_EQ(KindOf(seen), Verdict::Kind::kWait);
  seen.lasted_ms = 40'000;
  EXPECT_EQ(KindOf(seen), Verdict::Kind::kRollBack);
  seen = Even(10'000);
  seen.compared.changed = 10;
  EXPECT_EQ(KindOf(seen), Verdict::Kind::kPromote);
}

TEST(Judge, InTheShadowOnlyCopiesCount) {
  StepEvidence seen = Even(10'000);
  seen.shadow = true;
  seen.candidate = {};
  EXPECT_EQ(KindOf(seen), Verdict::Kind::kPromote);
  seen.candidate.copies = 1000;
  seen.candidate.copies_failed = 400;
  EXPECT_EQ(ReasonOf(seen).find("failed copies: 0.4"), 0u) << ReasonOf(seen);
}

// A judge that looks often has no more false alarms than it may: here every alarm is one.
TEST(Judge, ManyLooksRaiseNoMoreAlarms) {
  RolloutPlan plan = MakePlan();
  plan.limits.error_excess = 0;
  plan.limits.false_alarms = 3.2;  // of this metric, step and half: 1 in 20
  uint64_t state = 88172645463325252u;
  const auto chance = [&](double p) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return static_cast<double>(state >> 11) * 0x1p-53 < p;
  };
  int alarms = 0;
  for (int run = 0; run < 300; ++run) {
    Judge judge(plan);
    StepEvidence seen;
    bool alarmed = false;
    for (int look = 0; look < 400 && !alarmed; ++look) {
      for (int i = 0; i < 10; ++i) {
        chance(0.05) ? Fail(&seen.candidate, 1) : Answer(&seen.candidate, 1, 5);
        chance(0.05) ? Fail(&seen.baseline, 1) : Answer(&seen.baseline, 1, 5);
      }
      alarmed = judge.Look(seen).kind == Verdict::Kind::kRollBack;
    }
    alarms += alarmed;
  }
  EXPECT_LE(alarms, 25);  // of 300: 15 are expected at the most
}

TEST(Plan, IsReadAndWritten) {
  const auto plan = ReadPlan({{"name", "a"},
                              {"to", "3"},
                              {"steps", {0.5, 10, 100}},
                              {"every_ms", 2000},
                              {"shadow_first", true},
                              {"limits", {{"changed", 0.02}, {"min_requests", 7}}}});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->steps, (std::vector<uint32_t>{50, 1000, 10'000}));
  EXPECT_EQ(plan->patience_ms, 6000);
  EXPECT_EQ(plan->judged_steps(), 3u);
  EXPECT_EQ(plan->PartsOf(0), 0u);
  EXPECT_EQ(plan->PartsOf(3), 10'000u);
  const auto again = ReadPlan(WritePlan(*plan));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(WritePlan(*again), WritePlan(*plan));
}

TEST(Plan, FaultsNameTheField) {
  const std::pair<nlohmann::json, const char*> kBad[] = {
      {{{"steps", {5, 1, 100}}}, "steps:"},
      {{{"steps", {5, 50}}}, "steps:"},
      {{{"steps", nlohmann::json::array()}}, "steps:"},
      {{{"steps", {"5", 100}}}, "steps:"},
      {{{"steps", {0.001, 100}}}, "steps:"},
      {{{"every_ms", 1}}, "every_ms:"},
      {{{"every_ms", "10m"}}, "every_ms:"},
      {{{"limits", {{"changed", 0}}}}, "limits.changed:"},
      {{{"limits", {{"latency", 1}}}}, "limits.latency:"},
      {{{"limits", {{"min_requests", -1}}}}, "limits.min_requests:"},
      {{{"limits", 3}}, "limits:"},
      {{{"too", "2"}}, "too:"},
      {{{"to", 2}}, "to:"},
      {{{"shadow_first", true}, {"compare", false}}, "shadow_first:"},
      {{{"compare", 1}}, "compare:"},
  };
  for (const auto& [fields, field] : kBad) {
    const auto plan = ReadPlan(fields);
    EXPECT_EQ(plan.status().message().find(field), 0u) << fields << " " << plan.status();
    EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument) << fields;
  }
}

TEST(Counts, OfWordsAndOfStretches) {
  std::vector<uint64_t> words(kStatsWords);
  words[StatsCodeAt(0)] = 90;
  words[StatsCodeAt(1)] = 5;  // cancelled: nobody's fault
  words[StatsCodeAt(4)] = 6;
  words[StatsCodeAt(13)] = 2;
  words[StatsTimeAt(StatsTime::kTotal) + 1 + 3] = 90;
  words[StatsTimeAt(StatsTime::kQueue)] = 7777;  // the next histogram
  words[StatsSumAt(StatsSum::kShadowed)] = 12;
  words[StatsSumAt(StatsSum::kShadowFailed)] = 2;
  words[StatsSumAt(StatsSum::kCompared)] = 9;
  words[StatsSumAt(StatsSum::kRanked)] = 1;
  const VersionCounts now = CountsOf(words);
  EXPECT_EQ(now.requests, 98u);
  EXPECT_EQ(now.errors, 8u);
  EXPECT_EQ(now.internal, 2u);
  EXPECT_EQ(now.answers(), 90u);
  EXPECT_EQ(now.answered[3], 90u);
  EXPECT_EQ(now.compared(), 9u);
  EXPECT_EQ(now.ranked, 1u);
  VersionCounts then = now, stretch;
  then.requests = 8, then.answered[3] = 1;
  ASSERT_TRUE(Since(then, now, &stretch));
  EXPECT_EQ(stretch.requests, 90u);
  EXPECT_EQ(stretch.answered[3], 89u);
  EXPECT_EQ(stretch.errors, 0u);
  EXPECT_FALSE(Since(now, then, &stretch));
  then = now;
  then.copies += 1;  // a sum alone, while every time goes on
  EXPECT_FALSE(Since(then, now, &stretch));
  EXPECT_EQ(CountsOf({words.data(), 5}).requests, 0u);
}

}  // namespace
}  // namespace millrace
