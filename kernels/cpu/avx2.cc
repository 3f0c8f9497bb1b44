// For processors with AVX2: all of the last ten years.
#include <immintrin.h>

#include "kernels/cpu/level.h"
#include "kernels/cpu/margins.h"

namespace millrace::cpu {
namespace {

struct Avx2 {
  static constexpr uint32_t kMaxWidth = 32;
  static constexpr bool kMasks = false;

  // Edges that the value lies beyond; LightGBM's `strictly`.
  template <bool kStrictly>
  static uint32_t Behind(const float* edges, float x) {
    constexpr int kCompare = kStrictly ? _CMP_LT_OQ : _CMP_LE_OQ;
    const __m256 value = _mm256_set1_ps(x);
    const int low = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_load_ps(edges), value, kCompare));
    const int high = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_load_ps(edges + 8), value, kCompare));
    return static_cast<uint32_t>(__builtin_popcount(low | high << 8));
  }

  template <bool kStrictly>
  static uint32_t Behind(const double* edges, double x) {
    constexpr int kCompare = kStrictly ? _CMP_LT_OQ : _CMP_LE_OQ;
    const __m256d value = _mm256_set1_pd(x);
    int all = 0;
    for (int i = 0; i < 4; ++i) {
      all |= _mm256_movemask_pd(_mm256_cmp_pd(_mm256_load_pd(edges + 4 * i), value, kCompare))
             << 4 * i;
    }
    return static_cast<uint32_t>(__builtin_popcount(all));
  }

  template <bool kLightgbm, class Real>
  static void FillOne(const ForestTables& t, const Real* edges, const Real* row, uint8_t* columns) {
    FillColumns<Avx2, 1, kLightgbm>(t, edges, &row, columns);
  }

  template <uint32_t W, class Real>
  using Sums = PlainSums<W, Real>;
};

bool Supported() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt"); }

}  // namespace

const Level kAvx2Level = {"avx2", Supported, MarginsOfLevel<Avx2>};

}  // namespace millrace::cpu
