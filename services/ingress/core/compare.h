// How far two versions' answers to one request lie apart.
//
// Purpose: a version in the shadow, or the baseline beside a canary, is judged by what it would
// have
//   answered; the sums go to ipc/stats_words.h.
// Who may call: any thread. Ownership: nothing is kept; the views may lie in a peer's memory.
// Invariants:
//   1. A row is counted once, however many of its outputs differ.
//   2. Outputs are found by name. One that `other` lacks, that has another type or shape, or whose
//      bytes do not fit its shape, has changed in every row, with the full loss.
//   3. Nothing is allocated for requests of up to 8 outputs, whatever their rows.
//   4. Text is walked within its bounds, whatever lengths stand in it.
// Nothing fails.
//
// The decision of a row:
//   - where there are outputs of whole numbers or text (class, label, top k): the first element of
//     the row in each of them; of a top k's "score:index:label" only what follows the score;
//   - else of the first output of floats: with two columns and more the arg-max (the first of
//     equals); with one, of probabilities, whether it is >= 0.5; of other numbers it has changed if
//     they differ by more than kNumberTolerance of the larger (another sign alone is no decision).
//   A NaN, in any output of floats, that the other side does not have in the same place has
//   changed.
// The losses are of the first output of floats:
//   - cosine similarity a.b / (|a| |b|) of each row of two columns and more (Salton, Wong, Yang: A
//     vector space model for automatic indexing, CACM 18 (11), 1975); two null vectors: 1, one: 0;
//   - Spearman's rank correlation of one column over the rows of the batch, the first kMostRanked:
//     Pearson's correlation of the ranks, ties having their mean rank (Kendall, Gibbons: Rank
//     Correlation Methods, chapter 3). Two constant columns have none; one constant column: 0.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <string_view>

#include "absl/types/span.h"
#include "services/ingress/frontend.h"

namespace millrace {

inline constexpr double kNumberTolerance = 0.1;
inline constexpr size_t kMostRanked = 256;
inline constexpr uint64_t kFullLossPpm = 1'000'000;

struct Comparison {
  uint64_t rows = 0;
  uint64_t changed = 0;          // rows with another decision
  uint64_t cosine_loss_ppm = 0;  // sum over rows of (1 - cosine) * 10^6: each 0 to 2 * 10^6
  uint64_t rank_loss_ppm = 0;    // (1 - correlation) / 2 * 10^6
  uint64_t ranked = 0;           // 1: there is a rank correlation
};

// What one column of floats is.
enum class ScoreScale : uint8_t {
  kGuess,        // probabilities if all of both answers lie in [0, 1]
  kProbability,  // decided at 0.5
  kNumber,       // a regressor's
};
// By a model's objective, as the catalog has it ("binary:logistic", "reg:squarederror").
ScoreScale ScoreScaleOf(std::string_view objective);

// `answered` went out to the client (rows are its), `other` is compared with it.
Comparison CompareOutputs(absl::Span<const TensorView> answered, absl::Span<const TensorView> other,
                          ScoreScale scale = ScoreScale::kGuess);

}  // namespace millrace
