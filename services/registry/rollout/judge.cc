#include "services/registry/rollout/judge.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "services/registry/rollout/evidence.h"

namespace millrace {
namespace {

constexpr uint64_t kLeastForTimes = 100;  // answers of the baseline

double Share(uint64_t part, uint64_t all) {
  return all == 0 ? 0 : static_cast<double>(part) / static_cast<double>(all);
}

// Means of the comparisons so far.
double ChangedShare(const VersionCounts& c) { return Share(c.changed, c.rows); }
double CosineLoss(const VersionCounts& c) { return Share(c.cosine_loss_ppm, c.rows) / 1e6; }
double RankLoss(const VersionCounts& c) { return Share(c.rank_loss_ppm, c.ranked) / 1e6; }

}  // namespace

Judge::Judge(RolloutPlan plan)
    : plan_(std::move(plan)),
      of_metric_(plan_.limits.false_alarms / static_cast<double>(size_t{kMetrics})) {}

void Judge::BeginStep() {
  for (const Metric metric : {kCrash, kErrors, kSlow, kSlowMedian}) looks_[metric] = {};
  ended_ = false;
}

bool Judge::Convinces(Metric metric, uint64_t shown, bool last, double p) {
  Looks& seen = looks_[metric];
  const auto steps = static_cast<double>(std::max<size_t>(plan_.judged_steps(), 1));
  // Crashes, errors and times begin anew with each step; comparisons go on.
  const bool of_step = metric <= kSlowMedian;
  double alpha = last ? of_metric_ / 2 / steps : 0;
  if (shown > seen.shown + seen.shown / 6) {
    seen.shown = shown;
    alpha = std::max(alpha, SpentAt(++seen.looks, of_metric_ / 2 / (of_step ? steps : 1)));
  }
  return p <= alpha;
}

std::string Judge::Worse(const StepEvidence& evidence, bool last) {
  const VersionCounts &c = evidence.candidate, &b = evidence.baseline;
  const auto sentence = [&](const char* what, uint64_t mine, uint64_t theirs, double p) {
    return absl::StrFormat("%s: %d of %d requests of version %s, %d of %d of version %s (p = %.1e)",
                           what, mine, c.requests, plan_.to, theirs, b.requests, plan_.from, p);
  };
  if (c.internal > 0) {
    const double p = FisherGreater(c.internal, c.requests, b.internal, b.requests);
    if (Convinces(kCrash, c.internal, last, p)) {
      return sentence("crashes (INTERNAL)", c.internal, b.internal, p);
    }
  }
  if (Share(c.errors, c.requests) > Share(b.errors, b.requests) + plan_.limits.error_excess) {
    const double p = FisherGreater(c.errors, c.requests, b.errors, b.requests);
    if (Convinces(kErrors, c.requests, last, p)) return sentence("errors", c.errors, b.errors, p);
  }
  return "";
}

std::string Judge::Slow(const StepEvidence& evidence, Metric metric, double quantile, bool last) {
  const uint64_t theirs = evidence.baseline.answers(), mine = evidence.candidate.answers();
  if (theirs < kLeastForTimes || mine == 0) return "";
  const size_t reached = QuantileBucket(evidence.baseline.answered, quantile);
  if (reached >= kTimeEdges) return "";  // beyond all edges
  const auto edge = static_cast<double>(kTimeEdgesNs[reached]);
  const double limit = std::max(edge * plan_.limits.p99_ratio,
                                edge + static_cast<double>(plan_.limits.p99_slack_us) * 1e3);
  if (limit >= static_cast<double>(kTimeEdgesNs.back())) return "";
  const size_t bucket = TimeBucket(static_cast<uint64_t>(limit));
  const uint64_t beyond = CountAfter(evidence.candidate.answered, bucket);
  const uint64_t baseline_beyond = CountAfter(evidence.baseline.answered, bucket);
  // Else its own quantile is within the limit.
  if (Share(beyond, mine) <= 1 - quantile) return "";
  const double p = FisherGreater(beyond, mine, baseline_beyond, theirs);
  if (!Convinces(metric, mine, last, p)) return "";
  return absl::StrFormat(
      "slow: %d of %d answers of version %s took more than %.3g ms, %d of %d of version %s, whose "
      "p%d is at most %.3g ms (p = %.1e)",
      beyond, mine, plan_.to, static_cast<double>(kTimeEdgesNs[bucket]) / 1e6, baseline_beyond,
      theirs, plan_.from, static_cast<int>(quantile * 100), edge / 1e6, p);
}

std::string Judge::AboveLimit(Metric metric, const char* what, double mean, double limit,
                              uint64_t n, bool last) {
  if (mean <= limit) return "";
  const double p = MeanAbove(mean, limit, static_cast<double>(n));
  if (!Convinces(metric, n, last, p)) return "";
  return absl::StrFormat("%s: %.4g of version %s, where %.4g is the limit (%d copies, p <= %.1e)",
                         what, mean, plan_.to, limit, n, p);
}

std::string Judge::Differs(const StepEvidence& evidence, bool last) {
  const VersionCounts& c = evidence.compared;
  const RolloutLimits& limits = plan_.limits;
  std::string why = AboveLimit(kChanged, "changed decisions", ChangedShare(c), limits.changed,
                               c.compared(), last);
  // A loss of 1 - cosine lies in [0, 2]: half of it in [0, 1].
  if (why.empty() && CosineLoss(c) > limits.cosine_loss) {
    const double p =
        MeanAbove(CosineLoss(c) / 2, limits.cosine_loss / 2, static_cast<double>(c.compared()));
    if (Convinces(kCosine, c.compared(), last, p)) {
      why = absl::StrFormat("cosine loss: %.4g of version %s, where %.4g is the limit (p <= %.1e)",
                            CosineLoss(c), plan_.to, limits.cosine_loss, p);
    }
  }
  if (why.empty()) {
    why = AboveLimit(kRank, "rank loss", RankLoss(c), limits.rank_loss, c.ranked, last);
  }
  if (why.empty() && evidence.shadow) {
    const VersionCounts& copies = evidence.candidate;
    why = AboveLimit(kCopies, "failed copies", Share(copies.copies_failed, copies.copies),
                     limits.copy_failures, copies.copies, last);
  }
  return why;
}

std::string Judge::Missing(const StepEvidence& evidence) const {
  const RolloutLimits& limits = plan_.limits;
  const auto lacks = [](uint64_t has, uint64_t needs, const char* what,
                        const std::string& version) {
    return absl::StrCat(has, " ", what, " of version ", version, ", ", needs, " are needed");
  };
  if (!evidence.shadow) {
    if (evidence.candidate.requests < limits.min_requests) {
      return lacks(evidence.candidate.requests, limits.min_requests, "requests", plan_.to);
    }
    if (evidence.baseline.requests < limits.min_requests) {
      return lacks(evidence.baseline.requests, limits.min_requests, "requests", plan_.from);
    }
  }
  if (plan_.compare && evidence.compared_now < limits.min_compared) {
    return lacks(evidence.compared_now, limits.min_compared, "compared copies",
                 evidence.shadow ? plan_.to : plan_.from);
  }
  return "";
}

// A mean that lies above its limit without being conclusive.
std::string Judge::NotBelow(const StepEvidence& evidence) const {
  const VersionCounts& c = evidence.compared;
  const RolloutLimits& limits = plan_.limits;
  const auto above = [](const char* what, double mean, double limit) {
    return absl::StrFormat("%s: %.4g, not below its limit of %.4g", what, mean, limit);
  };
  if (!plan_.compare) return "";
  if (ChangedShare(c) > limits.changed) {
    return above("changed decisions", ChangedShare(c), limits.changed);
  }
  if (CosineLoss(c) > limits.cosine_loss) {
    return above("cosine loss", CosineLoss(c), limits.cosine_loss);
  }
  if (RankLoss(c) > limits.rank_loss) return above("rank loss", RankLoss(c), limits.rank_loss);
  return "";
}

Verdict Judge::Look(const StepEvidence& evidence) {
  const bool over = evidence.lasted_ms >= plan_.every_ms;
  const std::string missing = Missing(evidence);
  const bool last = over && missing.empty() && !ended_;
  ended_ |= last;
  std::string bad;
  if (!evidence.shadow) bad = Worse(evidence, last);
  if (bad.empty() && !evidence.shadow) bad = Slow(evidence, kSlow, 0.99, last);
  if (bad.empty() && !evidence.shadow) bad = Slow(evidence, kSlowMedian, 0.5, last);
  if (bad.empty() && plan_.compare) bad = Differs(evidence, last);
  if (!bad.empty()) return {Verdict::Kind::kRollBack, bad};
  if (!over) return {Verdict::Kind::kWait, "the step's time"};
  const std::string lacks = missing.empty() ? NotBelow(evidence) : missing;
  if (lacks.empty()) return {Verdict::Kind::kPromote, ""};
  if (evidence.lasted_ms < plan_.every_ms + plan_.patience_ms) {
    return {Verdict::Kind::kWait, lacks};
  }
  return {Verdict::Kind::kRollBack,
          absl::StrCat("nothing shows that version ", plan_.to, " is as good: ", lacks, " (after ",
                       evidence.lasted_ms, " ms)")};
}

}  // namespace millrace
