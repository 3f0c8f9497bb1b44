// Whether a step of a rollout ends well, goes on, or takes the candidate back.
//
// Purpose: the decision, from counts alone: no clock, no file, no process.
// Who may call: one thread. Ownership: keeps the plan's copy, and what it has looked at so far.
// Invariants:
//   1. What hits both versions alike (a stage that loses, a machine that stalls) is no evidence: a
//      candidate is held against what its baseline did in the same stretch of time.
//   2. Of a version that is as good as its baseline at most `false_alarms` are taken back, however
//      often it is looked at: each metric has its part of that, each step its part of the metric's,
//      one half for the looks while it runs (SpentAt), one for the look at its end. A metric is
//      looked at again only when it has a sixth more to show.
//   3. A step ends well only after its time, with enough requests of both versions and enough
//      compared copies, and while no mean of the comparisons is above its limit.
//   4. What is still missing after the step's time and the plan's patience takes it back.
//
// By which tests (evidence.h): errors, crashes (INTERNAL) and the share of answers beyond the
// baseline's p99 (and median, which a tail of other causes does not hide) times `p99_ratio` by
// Fisher's exact test, and only if they also lie above the limit;
// changed rows, cosine and rank losses and failed copies against their limits by Hoeffding's bound,
// with a copy as one observation, since the rows of one request are not independent. The
// comparisons of earlier steps count on, since their limits do not depend on what else went on.
// Nothing fails.
#pragma once

#include <stdint.h>

#include <array>
#include <string>

#include "services/registry/rollout/counts.h"
#include "services/registry/rollout/plan.h"

namespace millrace {

// Of one step, from its beginning.
struct StepEvidence {
  VersionCounts baseline, candidate;
  // Copies of the rollout so far, this step's included; of the candidate or, beside it, of the
  // baseline.
  VersionCounts compared;
  uint64_t compared_now = 0;  // copies that were compared in this step
  int64_t lasted_ms = 0;
  bool shadow = false;  // the candidate only gets copies
};

struct Verdict {
  enum class Kind { kWait, kPromote, kRollBack };
  Kind kind = Kind::kWait;
  std::string reason;  // of kWait: what it waits for; of kRollBack: a sentence with its figures
};

class Judge {
 public:
  explicit Judge(RolloutPlan plan);

  void BeginStep();
  Verdict Look(const StepEvidence& evidence);

 private:
  enum Metric : size_t {
    // Of a step.
    kCrash,
    kErrors,
    kSlow,
    kSlowMedian,
    // Of the rollout.
    kChanged,
    kCosine,
    kRank,
    kCopies,
    kMetrics
  };
  struct Looks {
    uint64_t looks = 0;
    uint64_t shown = 0;  // at the last one
  };

  std::string Worse(const StepEvidence& evidence, bool last);
  std::string Slow(const StepEvidence& evidence, Metric metric, double quantile, bool last);
  std::string Differs(const StepEvidence& evidence, bool last);
  // Whether p is small enough at this look; `shown`: how much there is to look at.
  bool Convinces(Metric metric, uint64_t shown, bool last, double p);
  std::string AboveLimit(Metric metric, const char* what, double mean, double limit, uint64_t n,
                         bool last);
  std::string Missing(const StepEvidence& evidence) const;
  std::string NotBelow(const StepEvidence& evidence) const;

  const RolloutPlan plan_;
  const double of_metric_;  // false alarms that each may have
  std::array<Looks, kMetrics> looks_;
  bool ended_ = false;  // the look at the step's end was taken
};

}  // namespace millrace
