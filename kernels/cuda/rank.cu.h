// Rows into column bytes: all that a node looks at.
//
// Purpose: what kernels/plan/format.h says of a column's byte, for float32 rows. Family by the type
//   of the sums: float is XGBoost, double is LightGBM.
// Who may call: device code of kernels/cuda; `bytes` is a row of shared or of device memory.
// Invariants:
//   1. Any value may stand in a row: NaN, infinities and denormals are ranked as the trainer's
//      library ranks them.
//   2. Every column of the feature is written, by one thread.
#pragma once

#include <math.h>

#include "kernels/cuda/forest.h"
#include "kernels/simt/cuda.h"

namespace millrace::cuda {

template <typename Real>
inline constexpr bool kIsXgboost = sizeof(Real) == sizeof(float);

inline constexpr uint32_t kFullWarp = 0xffffffff;

// LightGBM's reader of matrices makes what is near zero zero.
template <typename Real>
__device__ __forceinline__ float LoadValue(float x) {
  if constexpr (kIsXgboost<Real>) return x;
  return fabsf(x) <= 1e-35f ? 0.0f : x;
}

// The value lies on the right side of the edge.
template <typename Real>
__device__ __forceinline__ bool Beyond(float edge, float x) {
  if constexpr (kIsXgboost<Real>) return edge <= x;
  return edge < x;
}

// How many of the rising edges the value is beyond. By one thread.
template <typename Real>
__device__ uint32_t ThreadRank(const float* edges, uint32_t count, float x) {
  uint32_t low = 0;
  while (count > 0) {
    const uint32_t half = count / 2;
    const bool beyond = Beyond<Real>(edges[low + half], x);
    low = beyond ? low + half + 1 : low;
    count = beyond ? count - half - 1 : half;
  }
  return low;
}

// The same by a whole warp: 32 edges a step. All lanes call with the same arguments.
template <typename Real>
__device__ uint32_t WarpRank(const float* edges, uint32_t count, float x) {
  const uint32_t lane = threadIdx.x % 32;
  uint32_t low = 0;
  while (count > 32) {
    // Of 32 parts, those whose last edge the value is beyond are counted whole.
    const uint32_t step = (count + 31) / 32;
    const uint32_t last = (lane + 1) * step - 1;
    const bool beyond = last < count && Beyond<Real>(edges[low + last], x);
    const uint32_t passed = __popc(__ballot_sync(kFullWarp, beyond)) * step;
    low += passed;
    count = count - passed < step ? count - passed : step;
  }
  const bool beyond = lane < count && Beyond<Real>(edges[low + lane], x);
  return low + __popc(__ballot_sync(kFullWarp, beyond));
}

template <typename Real>
__device__ __forceinline__ uint8_t NumericByte(const PlanColumn& column, float x, uint32_t rank) {
  bool missing = isnan(x);
  if constexpr (!kIsXgboost<Real>) {
    if (column.missing == Missing::kNone) missing = false;
    if (column.missing == Missing::kZero) missing = missing || x == 0.0f;
  }
  if (missing) return column.default_left ? 0 : kRight;
  if (rank <= column.first) return 0;
  const uint32_t counted = rank - column.first;
  return static_cast<uint8_t>(counted < kRight ? counted : kRight);
}

// What a category means for the sets of its feature: which word, which bit; or all of them alike.
struct Category {
  uint32_t word;  // ~0: in no set that has words
  uint32_t bit;
};

template <typename Real>
__device__ __forceinline__ Category CategoryOf(float x) {
  bool possible;
  if constexpr (kIsXgboost<Real>)
    possible = x >= 0.0f && x < 16777216.0f;
  else
    possible = x > -1.0f && x < 2147483648.0f;  // truncation makes (-1, 0] category 0
  if (!possible) return {~0u, 0};
  const uint32_t category = static_cast<uint32_t>(static_cast<int32_t>(x));
  return {category / 32, category % 32};
}

template <typename Real>
__device__ __forceinline__ uint8_t SetByte(const PlanColumn& column, float x, bool in_set) {
  if constexpr (kIsXgboost<Real>) {
    if (isnan(x)) return column.default_left ? 0 : kRight;
    return in_set ? kRight : 0;
  }
  return in_set ? 0 : kRight;
}

// Columns begin, begin + step, ... of the feature. `x` comes from LoadValue; `rank` counts from the
// plan's first edge, as the columns do.
template <typename Real, typename Bytes>
__device__ void WriteColumns(const ForestView& forest, const PlanFeature& feature, float x,
                             uint32_t rank, Bytes bytes, uint32_t begin, uint32_t step) {
  const PlanColumn* columns = forest.columns + feature.first_column;
  for (uint32_t i = begin; i < feature.numeric_columns; i += step) {
    const PlanColumn column = columns[i];
    bytes[feature.first_column + i] = NumericByte<Real>(column, x, rank);
  }
  if (feature.set_columns == 0) return;
  const Category category = CategoryOf<Real>(x);
  PlanWordRow row = {0, 0};
  if (category.word < feature.row_count) row = forest.word_rows[feature.first_row + category.word];
  for (uint32_t i = begin; i < feature.set_columns; i += step) {
    const uint32_t at = feature.numeric_columns + i;
    const bool in_set = i < row.count && (forest.words[row.first_word + i] >> category.bit & 1);
    const PlanColumn column = columns[at];
    bytes[feature.first_column + at] = SetByte<Real>(column, x, in_set);
  }
}

// What is ranked: LightGBM takes NaN for 0 where it is not missing.
__device__ __forceinline__ float RankedValue(float x) { return isnan(x) ? 0.0f : x; }

template <typename Real, typename Bytes>
__device__ void RankByThread(const ForestView& forest, uint32_t feature_index, float raw,
                             Bytes bytes) {
  const PlanFeature feature = forest.features[feature_index];
  const float x = LoadValue<Real>(raw);
  const uint32_t rank =
      ThreadRank<Real>(forest.edges + feature.first_edge, feature.edge_count, RankedValue(x));
  WriteColumns<Real>(forest, feature, x, feature.first_edge + rank, bytes, 0, 1);
}

template <typename Real, typename Bytes>
__device__ void RankByWarp(const ForestView& forest, uint32_t feature_index, float raw,
                           Bytes bytes) {
  const PlanFeature feature = forest.features[feature_index];
  const float x = LoadValue<Real>(raw);
  const uint32_t rank =
      WarpRank<Real>(forest.edges + feature.first_edge, feature.edge_count, RankedValue(x));
  WriteColumns<Real>(forest, feature, x, feature.first_edge + rank, bytes, threadIdx.x % 32, 32);
}

}  // namespace millrace::cuda
