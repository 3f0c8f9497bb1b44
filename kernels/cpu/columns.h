// Rows to columns of bytes: the first step of every engine. What a byte means is in format.h.
//
// Included by the level files only. L is the level: a type of the including file, so that every
// instantiation is that file's own. Real is the type of the rows and of the edges they are compared
// with; both tables give the same bytes for the same question.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu/tables.h"

namespace millrace::cpu {

// How many of the feature's edges the value lies beyond; none where it is NaN.
template <class L, bool kLightgbm, class Real>
inline uint32_t Rank(const Real* edges, const FeatureTable& f, Real x) {
  uint32_t block = 0;
  for (uint32_t b = 0; b < f.pivot_blocks; ++b) {
    const uint32_t behind =
        L::template Behind<kLightgbm>(edges + f.pivots + size_t{b} * kEdgeBlock, x);
    block += behind;
    if (behind < kEdgeBlock) break;
  }
  const size_t at = f.edges + size_t{block} * kEdgeBlock;
  return block * kEdgeBlock + L::template Behind<kLightgbm>(edges + at, x);
}

// The values of one feature in W rows, and which of them are missing.
template <uint32_t W>
struct Values {
  alignas(64) uint32_t rank[W];
  alignas(64) uint8_t nan[W];   // 255 where it is
  alignas(64) uint8_t zero[W];  // 255 where it is zero or NaN; LightGBM only
};

template <class L, uint32_t W, bool kLightgbm, class Real>
inline void ReadFeature(const Real* edges, const FeatureTable& f, const Real* const* rows,
                        Values<W>* out) {
  for (uint32_t r = 0; r < W; ++r) {
    Real x = rows[r][f.feature];
    const bool nan = x != x;
    out->nan[r] = nan ? 255 : 0;
    out->zero[r] = 0;
    if constexpr (kLightgbm) {
      // The library's matrix reader makes zero of what is near it; NaN is zero where a node does
      // not take it for missing.
      constexpr Real kNearZero = 1e-35f;
      if (nan || (x <= kNearZero && x >= -kNearZero)) x = 0;
      out->zero[r] = x == 0 ? 255 : 0;
    }
    out->rank[r] = Rank<L, kLightgbm>(edges, f, x);
  }
}

template <class L, uint32_t W>
inline void FillNumeric(const PlanColumn& column, const FeatureTable& f, const Values<W>& values,
                        uint8_t* out) {
  const auto first = static_cast<int32_t>(column.first - f.first_edge);
  const uint8_t fill = column.default_left ? 0 : kRight;
  const uint8_t* missing = column.missing == Missing::kZero ? values.zero : values.nan;
  const uint8_t looks = column.missing == Missing::kNone ? 0 : 255;
  for (uint32_t r = 0; r < W; ++r) {
    int32_t beyond = static_cast<int32_t>(values.rank[r]) - first;
    beyond = beyond < 0 ? 0 : beyond;
    beyond = beyond > kRight ? kRight : beyond;
    const uint8_t gone = missing[r] & looks;
    out[r] = static_cast<uint8_t>((beyond & ~gone) | (fill & gone));
  }
}

// The category as the library has it, or -1 for none.
template <bool kLightgbm, class Real>
inline int64_t Category(Real x) {
  if constexpr (kLightgbm) {
    return x > Real{-1} && x < Real{2147483648.0} ? static_cast<int32_t>(x) : -1;
  } else {
    return x >= 0 && x < Real{1 << 24} ? static_cast<int32_t>(x) : -1;
  }
}

// The set columns of one row; `out` is the row's byte of the first of them, W bytes to the next.
template <class L, uint32_t W, bool kLightgbm, class Real>
inline void FillSets(const ForestTables& t, const FeatureTable& f, Real x, uint8_t* out) {
  constexpr uint8_t kOutside = kLightgbm ? kRight : 0;
  if (!kLightgbm && x != x) {
    const PlanColumn* columns = t.columns + f.first_column + f.numeric_columns;
    for (uint32_t j = 0; j < f.set_columns; ++j) {
      out[size_t{j} * W] = columns[j].default_left ? 0 : kRight;
    }
    return;
  }
  const int64_t category = Category<kLightgbm>(x);
  uint32_t j = 0;
  if (category >= 0 && category / 32 < f.row_count) {
    const PlanWordRow row = t.word_rows[f.first_row + category / 32];
    const uint32_t* words = t.words + row.first_word;
    const auto bit = static_cast<uint32_t>(category % 32);
    for (; j < row.count; ++j) {
      out[size_t{j} * W] = static_cast<uint8_t>(0 - (words[j] >> bit & 1)) ^ kOutside;
    }
  }
  for (; j < f.set_columns; ++j) out[size_t{j} * W] = kOutside;
}

// `out`: [column_count][W]. All W pointers of `rows` can be read.
template <class L, uint32_t W, bool kLightgbm, class Real>
inline void FillColumns(const ForestTables& t, const Real* edges, const Real* const* rows,
                        uint8_t* out) {
  Values<W> values;
  for (uint32_t i = 0; i < t.used_count; ++i) {
    const FeatureTable& f = t.used[i];
    uint8_t* column = out + size_t{f.first_column} * W;
    if (f.numeric_columns != 0) {
      ReadFeature<L, W, kLightgbm>(edges, f, rows, &values);
      for (uint32_t c = 0; c < f.numeric_columns; ++c, column += W) {
        FillNumeric<L, W>(t.columns[f.first_column + c], f, values, column);
      }
    }
    if (f.set_columns == 0) continue;
    for (uint32_t r = 0; r < W; ++r) {
      FillSets<L, W, kLightgbm>(t, f, rows[r][f.feature], column + r);
    }
  }
}

}  // namespace millrace::cpu
