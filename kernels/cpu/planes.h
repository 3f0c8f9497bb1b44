// Leaves of up to 64 rows by byte permutes: sums of a plain tree of at most 64 leaves.
//
// A leaf is looked up byte by byte: one permute of the plane of its first bytes by the rows' leaf
// numbers, one of the second bytes, and so on; then the bytes are interleaved into floats or
// doubles. Interleaving works inside lanes of 16 bytes, so sums lie in the order that it leaves
// behind, and Index() says where a row's sum is.
//
// Included by avx512.cc only.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu/margins.h"
#include "kernels/cpu/tables.h"

namespace millrace::cpu {

// Byte `b` of the leaf of each row.
template <uint32_t W>
static inline __m512i Plane(const uint8_t* planes, uint32_t b, __m512i numbers) {
  return _mm512_permutexvar_epi8(numbers, _mm512_load_si512(planes + 64 * b));
}

template <uint32_t W>
static inline __m512i LoadNumbers(const uint8_t* numbers) {
  if constexpr (W == 64) return _mm512_load_si512(numbers);
  if constexpr (W == 32) {
    return _mm512_zextsi256_si512(_mm256_load_si256(reinterpret_cast<const __m256i*>(numbers)));
  }
  return _mm512_zextsi128_si512(_mm_load_si128(reinterpret_cast<const __m128i*>(numbers)));
}

// Adds the first W / 16 lanes of a vector of leaves to `sums`.
template <uint32_t W>
static inline void AddLanes(float* sums, __m512i leaves) {
  if constexpr (W == 64) {
    _mm512_store_ps(sums, _mm512_add_ps(_mm512_load_ps(sums), _mm512_castsi512_ps(leaves)));
  } else if constexpr (W == 32) {
    const __m256 add = _mm256_castsi256_ps(_mm512_castsi512_si256(leaves));
    _mm256_store_ps(sums, _mm256_add_ps(_mm256_load_ps(sums), add));
  } else {
    const __m128 add = _mm_castsi128_ps(_mm512_castsi512_si128(leaves));
    _mm_store_ps(sums, _mm_add_ps(_mm_load_ps(sums), add));
  }
}

template <uint32_t W>
static inline void AddLanes(double* sums, __m512i leaves) {
  if constexpr (W == 64) {
    _mm512_store_pd(sums, _mm512_add_pd(_mm512_load_pd(sums), _mm512_castsi512_pd(leaves)));
  } else if constexpr (W == 32) {
    const __m256d add = _mm256_castsi256_pd(_mm512_castsi512_si256(leaves));
    _mm256_store_pd(sums, _mm256_add_pd(_mm256_load_pd(sums), add));
  } else {
    const __m128d add = _mm_castsi128_pd(_mm512_castsi512_si128(leaves));
    _mm_store_pd(sums, _mm_add_pd(_mm_load_pd(sums), add));
  }
}

// Four planes of bytes to four vectors of 32 bits: vector q holds rows 4q to 4q + 3 of each lane.
struct Quarters {
  __m512i of[4];
};

template <uint32_t W>
static inline Quarters Interleave(const uint8_t* planes, uint32_t first, __m512i numbers) {
  const __m512i a = Plane<W>(planes, first, numbers), b = Plane<W>(planes, first + 1, numbers);
  const __m512i c = Plane<W>(planes, first + 2, numbers), d = Plane<W>(planes, first + 3, numbers);
  const __m512i ab_low = _mm512_unpacklo_epi8(a, b), ab_high = _mm512_unpackhi_epi8(a, b);
  const __m512i cd_low = _mm512_unpacklo_epi8(c, d), cd_high = _mm512_unpackhi_epi8(c, d);
  return {{_mm512_unpacklo_epi16(ab_low, cd_low), _mm512_unpackhi_epi16(ab_low, cd_low),
           _mm512_unpacklo_epi16(ab_high, cd_high), _mm512_unpackhi_epi16(ab_high, cd_high)}};
}

template <uint32_t W, class Real>
struct PlaneSums {
  static constexpr uint32_t kLanes = W / 16;
  static constexpr uint32_t kInLane = 16 / sizeof(Real);  // rows of one lane in one vector

  static uint32_t Index(uint32_t row) {
    const uint32_t lane = row / 16, vector = row % 16 / kInLane, at = row % kInLane;
    return (vector * kLanes + lane) * kInLane + at;
  }

  static void Add(const ForestTables& t, uint32_t tree, const uint8_t* numbers, Real* sums) {
    if (t.leaf_planes == nullptr) {
      const Real* leaves = LeavesOf<Real>(t) + t.trees[tree].first_leaf;
      for (uint32_t r = 0; r < W; ++r) sums[Index(r)] += leaves[numbers[r]];
      return;
    }
    const uint8_t* planes = t.leaf_planes + size_t{tree} * sizeof(Real) * 64;
    const __m512i rows = LoadNumbers<W>(numbers);
    const Quarters low = Interleave<W>(planes, 0, rows);
    constexpr uint32_t kStep = kLanes * kInLane;
    if constexpr (sizeof(Real) == sizeof(float)) {
      for (uint32_t q = 0; q < 4; ++q) AddLanes<W>(sums + q * kStep, low.of[q]);
    } else {
      const Quarters high = Interleave<W>(planes, 4, rows);
      for (uint32_t q = 0; q < 4; ++q) {
        AddLanes<W>(sums + 2 * q * kStep, _mm512_unpacklo_epi32(low.of[q], high.of[q]));
        AddLanes<W>(sums + (2 * q + 1) * kStep, _mm512_unpackhi_epi32(low.of[q], high.of[q]));
      }
    }
  }
};

}  // namespace millrace::cpu
