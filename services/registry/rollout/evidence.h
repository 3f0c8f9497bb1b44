// How likely chance alone would have made what was counted.
//
// Purpose: the judge's statistics, each with its source, apart from what is judged by them.
// Who may call: any thread. Invariants: 1. results are probabilities, never NaN; what shows nothing
//   is 1. 2. Costs are bounded by a few thousand steps whatever the counts.
// Nothing fails.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "absl/types/span.h"

namespace millrace {

// Fisher's exact test of two shares, one-sided: the probability of `x` or more of the first `n` if
// both had the same share, given x + other_x of both (R. A. Fisher: Statistical Methods for
// Research Workers, 5th ed. 1934, section 21.02; the tail of the hypergeometric distribution).
// Exact, also for small counts.
double FisherGreater(uint64_t x, uint64_t n, uint64_t other_x, uint64_t other_n);

// A bound of the probability that the mean of `n` independent values in [0, 1], whose expectation
// is at most `limit`, is `mean` or more: exp(-n KL(mean, limit)) (W. Hoeffding: Probability
// inequalities for sums of bounded random variables, JASA 58, 1963, theorem 1). For shares and for
// losses alike.
double MeanAbove(double mean, double limit, double n);

// How much of a false alarm rate `alpha` the look number `look` (from 1) may use, so that all looks
// together, however many, use no more: alpha * 6 / (pi^2 look^2), the terms of Basel's sum. A
// spending function (Lan, DeMets: Discrete sequential boundaries for clinical trials, Biometrika
// 70, 1983) that holds by the union bound, whatever the looks have in common.
double SpentAt(uint64_t look, double alpha);

// The bucket in which the share `q` of all counts is reached; buckets.size() without any.
size_t QuantileBucket(absl::Span<const uint64_t> buckets, double q);
// Counts in buckets after `bucket`.
uint64_t CountAfter(absl::Span<const uint64_t> buckets, size_t bucket);

}  // namespace millrace
