#include "services/ingress/core/compare.h"

#include <math.h>
#include <string.h>

#include <algorithm>
#include <array>

#include "absl/container/inlined_vector.h"
#include "common/datatype.h"

namespace millrace {
namespace {

bool IsFloat(DataType type) { return type == DataType::kFp32 || type == DataType::kFp64; }

double FloatAt(const TensorView& view, size_t i) {
  if (view.datatype == DataType::kFp64) {
    double value;
    memcpy(&value, view.raw.data() + i * sizeof value, sizeof value);
    return value;
  }
  float value;
  memcpy(&value, view.raw.data() + i * sizeof value, sizeof value);
  return value;
}

// Elements of a row; 0: a shape that cannot be.
size_t ColumnsOf(const TensorView& view) {
  uint64_t columns = 1;
  for (size_t i = 1; i < view.shape.size(); ++i) {
    if (view.shape[i] <= 0 || view.shape[i] > INT32_MAX) return 0;
    columns *= static_cast<uint64_t>(view.shape[i]);
    if (columns > INT32_MAX) return 0;
  }
  return columns;
}

uint64_t RowsOf(absl::Span<const TensorView> outputs) {
  if (outputs.empty() || outputs[0].shape.empty() || outputs[0].shape[0] <= 0) return 0;
  return std::min<uint64_t>(static_cast<uint64_t>(outputs[0].shape[0]), INT32_MAX);
}

// Element after element of BYTES.
class TextWalk {
 public:
  explicit TextWalk(std::string_view raw) : rest_(raw) {}
  // False: it ended, or a length leads out of it.
  bool Next(std::string_view* text) {
    uint32_t length;
    if (rest_.size() < sizeof length) return false;
    memcpy(&length, rest_.data(), sizeof length);
    if (rest_.size() - sizeof length < length) return false;
    *text = rest_.substr(sizeof length, length);
    rest_.remove_prefix(sizeof length + length);
    return true;
  }

 private:
  std::string_view rest_;
};

// What follows the score of "score:index:label"; the whole text of anything else.
std::string_view Unscored(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon + 1 >= text.size()) return text;
  const std::string_view score = text.substr(0, colon);
  if (score.find_first_not_of("0123456789+-.einfa") != std::string_view::npos) return text;
  return text[colon + 1] >= '0' && text[colon + 1] <= '9' ? text.substr(colon + 1) : text;
}

// One output on both sides.
struct Pair {
  const TensorView* a;
  const TensorView* b;
  size_t columns;
  bool fits;  // both sides have it, alike
  TextWalk text_a, text_b;

  bool floats() const { return IsFloat(a->datatype); }

  // The next row of text. To be asked row after row.
  bool TextDiffers() {
    bool differs = false;
    for (size_t c = 0; c < columns; ++c) {
      std::string_view x, y;
      const bool both = text_a.Next(&x) & text_b.Next(&y);
      if (!both) return true;
      if (c == 0) differs = Unscored(x) != Unscored(y);
    }
    return differs;
  }

  bool NumberDiffers(uint64_t row) const {
    const size_t size = DataTypeSize(a->datatype);
    const size_t at = row * columns * size;
    return memcmp(a->raw.data() + at, b->raw.data() + at, size) != 0;
  }
};

bool Fits(const TensorView& view, uint64_t rows, size_t columns) {
  if (columns == 0 || view.shape.empty() || view.shape[0] != static_cast<int64_t>(rows)) {
    return false;
  }
  const size_t size = DataTypeSize(view.datatype);
  return size == 0 ? view.datatype == DataType::kBytes : view.raw.size() == rows * columns * size;
}

Pair PairOf(const TensorView& a, absl::Span<const TensorView> other, uint64_t rows) {
  Pair pair = {&a, nullptr, ColumnsOf(a), false, TextWalk(a.raw), TextWalk({})};
  for (const TensorView& b : other) {
    if (b.name == a.name) pair.b = &b;
  }
  if (pair.b == nullptr) return pair;
  pair.fits = a.datatype == pair.b->datatype && pair.columns == ColumnsOf(*pair.b) &&
              Fits(a, rows, pair.columns) && Fits(*pair.b, rows, pair.columns);
  pair.text_b = TextWalk(pair.b->raw);
  return pair;
}

// Of one row of floats.
struct RowOfFloats {
  bool nan_differs = false;
  bool decision_differs = false;
  double loss = 0;  // 1 - cosine, of two columns and more
};

RowOfFloats LookAt(const Pair& pair, uint64_t row, bool probabilities) {
  RowOfFloats seen;
  double dot = 0, aa = 0, bb = 0, best_a = -HUGE_VAL, best_b = -HUGE_VAL;
  size_t arg_a = 0, arg_b = 0;
  bool nan = false;
  for (size_t c = 0; c < pair.columns; ++c) {
    const double x = FloatAt(*pair.a, row * pair.columns + c);
    const double y = FloatAt(*pair.b, row * pair.columns + c);
    if (isnan(x) || isnan(y)) {
      nan = true;
      seen.nan_differs |= isnan(x) != isnan(y);
      continue;
    }
    if (x > best_a) best_a = x, arg_a = c;
    if (y > best_b) best_b = y, arg_b = c;
    dot += x * y, aa += x * x, bb += y * y;
  }
  if (pair.columns > 1) {
    seen.decision_differs = arg_a != arg_b;
    const double norm = sqrt(aa) * sqrt(bb);
    if (seen.nan_differs) {
      seen.loss = 1;
    } else if (norm > 0 && isfinite(norm) && isfinite(dot)) {
      seen.loss = std::clamp(1 - dot / norm, 0.0, 2.0);
    } else if (aa != bb) {
      seen.loss = 1;  // one is null, or not finite
    }
  } else if (!nan) {
    seen.decision_differs =
        probabilities
            ? (best_a >= 0.5) != (best_b >= 0.5)
            : best_a != best_b && !(fabs(best_a - best_b) <=
                                    kNumberTolerance * std::max(fabs(best_a), fabs(best_b)));
  }
  return seen;
}

bool AllInUnit(const TensorView& view, uint64_t rows) {
  for (uint64_t i = 0; i < rows; ++i) {
    const double x = FloatAt(view, i);
    if (x < 0 || x > 1) return false;
  }
  return true;
}

using Ranks = std::array<double, kMostRanked>;

// Ranks from 1; equals have the mean of theirs. False: there is a NaN.
bool RankOf(const TensorView& view, size_t rows, Ranks* ranks) {
  std::array<double, kMostRanked> values;
  std::array<uint16_t, kMostRanked> order;
  for (size_t i = 0; i < rows; ++i) {
    values[i] = FloatAt(view, i);
    if (isnan(values[i])) return false;
    order[i] = static_cast<uint16_t>(i);
  }
  std::sort(order.begin(), order.begin() + rows,
            [&values](uint16_t x, uint16_t y) { return values[x] < values[y]; });
  for (size_t i = 0; i < rows;) {
    size_t end = i + 1;
    while (end < rows && values[order[end]] == values[order[i]]) ++end;
    for (size_t k = i; k < end; ++k) (*ranks)[order[k]] = (i + 1 + end) / 2.0;
    i = end;
  }
  return true;
}

void CompareRanks(const Pair& pair, uint64_t all_rows, Comparison* out) {
  const size_t rows = std::min<uint64_t>(all_rows, kMostRanked);
  Ranks a, b;
  out->ranked = 1;
  out->rank_loss_ppm = kFullLossPpm;
  if (!pair.fits || !RankOf(*pair.a, rows, &a) || !RankOf(*pair.b, rows, &b)) return;
  const double mean = (rows + 1) / 2.0;
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < rows; ++i) {
    ab += (a[i] - mean) * (b[i] - mean);
    aa += (a[i] - mean) * (a[i] - mean);
    bb += (b[i] - mean) * (b[i] - mean);
  }
  if (aa == 0 && bb == 0) {
    out->ranked = out->rank_loss_ppm = 0;
    return;
  }
  const double rho = aa == 0 || bb == 0 ? 0 : std::clamp(ab / sqrt(aa * bb), -1.0, 1.0);
  out->rank_loss_ppm = static_cast<uint64_t>(llround((1 - rho) / 2 * kFullLossPpm));
}

}  // namespace

ScoreScale ScoreScaleOf(std::string_view objective) {
  if (objective == "binary:logitraw") return ScoreScale::kNumber;
  if (objective.find("logistic") != std::string_view::npos || objective.starts_with("binary")) {
    return ScoreScale::kProbability;
  }
  for (const std::string_view regression :
       {"reg", "count:", "poisson", "gamma", "tweedie", "quantile", "mape", "huber", "fair",
        "survival", "rank", "lambdarank"}) {
    if (objective.starts_with(regression)) return ScoreScale::kNumber;
  }
  return ScoreScale::kGuess;
}

Comparison CompareOutputs(absl::Span<const TensorView> answered, absl::Span<const TensorView> other,
                          ScoreScale scale) {
  Comparison out;
  out.rows = RowsOf(answered);
  if (out.rows == 0) return out;
  absl::InlinedVector<Pair, 8> pairs;
  const Pair* score = nullptr;  // the first output of floats
  bool classes = false, all_fit = true;
  pairs.reserve(answered.size());
  for (const TensorView& a : answered) {
    pairs.push_back(PairOf(a, other, out.rows));
    all_fit &= pairs.back().fits;
    classes |= !pairs.back().floats();
    if (score == nullptr && pairs.back().floats()) score = &pairs.back();
  }
  const bool one_column = score != nullptr && score->columns == 1;
  const bool probabilities = one_column && score->fits &&
                             (scale == ScoreScale::kProbability ||
                              (scale == ScoreScale::kGuess && AllInUnit(*score->a, out.rows) &&
                               AllInUnit(*score->b, out.rows)));
  double loss = 0;
  for (uint64_t row = 0; row < out.rows; ++row) {
    bool changed = !all_fit;
    for (Pair& pair : pairs) {
      if (!pair.fits) {
        if (&pair == score && !one_column) loss += 1;
        continue;
      }
      if (pair.floats()) {
        const RowOfFloats seen = LookAt(pair, row, probabilities);
        changed |= seen.nan_differs || (&pair == score && !classes && seen.decision_differs);
        if (&pair == score) loss += seen.loss;
      } else {
        changed |=
            pair.a->datatype == DataType::kBytes ? pair.TextDiffers() : pair.NumberDiffers(row);
      }
    }
    if (changed) ++out.changed;
  }
  out.cosine_loss_ppm = static_cast<uint64_t>(llround(loss * kFullLossPpm));
  if (one_column && out.rows >= 2) CompareRanks(*score, out.rows, &out);
  return out;
}

}  // namespace millrace
