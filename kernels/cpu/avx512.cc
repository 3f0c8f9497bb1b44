// For processors with AVX-512 and its byte permutes: Ice Lake, Zen 4 and later.
#include <immintrin.h>

#include "kernels/cpu/level.h"
#include "kernels/cpu/margins.h"
#include "kernels/cpu/masks.h"
#include "kernels/cpu/planes.h"

namespace millrace::cpu {
namespace {

struct Avx512 {
  static constexpr uint32_t kMaxWidth = 64;
  static constexpr bool kMasks = true;

  template <bool kStrictly>
  static uint32_t Behind(const float* edges, float x) {
    constexpr int kCompare = kStrictly ? _CMP_LT_OQ : _CMP_LE_OQ;
    const __mmask16 mask = _mm512_cmp_ps_mask(_mm512_load_ps(edges), _mm512_set1_ps(x), kCompare);
    return static_cast<uint32_t>(__builtin_popcount(mask));
  }

  template <bool kStrictly>
  static uint32_t Behind(const double* edges, double x) {
    constexpr int kCompare = kStrictly ? _CMP_LT_OQ : _CMP_LE_OQ;
    const __m512d value = _mm512_set1_pd(x);
    const uint32_t low = _mm512_cmp_pd_mask(_mm512_load_pd(edges), value, kCompare);
    const uint32_t high = _mm512_cmp_pd_mask(_mm512_load_pd(edges + 8), value, kCompare);
    return static_cast<uint32_t>(__builtin_popcount(low | high << 8));
  }

  template <uint32_t W, class Real>
  using Sums = PlaneSums<W, Real>;

  template <bool kLightgbm, class Real>
  static void FillOne(const ForestTables& t, const Real* edges, const Real* row, uint8_t* columns) {
    if (t.column_groups != nullptr) {
      FillRow<Avx512, kLightgbm>(t, edges, row, columns);
    } else {
      FillColumns<Avx512, 1, kLightgbm>(t, edges, &row, columns);
    }
  }

  template <class Engine, class Real, class In>
  static void RowByMasks(const ForestTables& t, const In* row, Real* sums, uint8_t* columns) {
    FillOne<Engine::kLightgbm>(t, EdgesOf<In>(t), row, columns);
    for (uint32_t g = 0; g < t.groups; ++g) sums[g] = static_cast<Real>(t.bases[g]);
    const RowBytes bytes = LoadRow(columns, t.column_count);
    for (uint32_t first = 0; first < t.tree_count; first += kMaskTrees) {
      const uint32_t left = t.tree_count - first;
      const uint32_t count = left < kMaskTrees ? left : kMaskTrees;
      alignas(64) uint64_t slots[kMaskTrees];
      FindSlots(t, first, (count + 7) / 8, bytes, slots);
      AddSlots<Engine>(t, first, count, slots, row, sums);
    }
  }

  // In the order of the trees.
  template <class Engine, class Real, class In>
  static void AddSlots(const ForestTables& t, uint32_t first, uint32_t count, const uint64_t* slots,
                       const In* row, Real* sums) {
    if (!t.plain_leaves) {
      for (uint32_t k = 0; k < count; ++k) {
        Engine::AddLeaf(t, t.trees[first + k], t.masks[first + k].leaf[slots[k]], row, sums, 1);
      }
      return;
    }
    const Real* leaves = static_cast<const Real*>(t.slot_leaves) + size_t{first} * 64;
    if (t.groups == 1) {
      Real sum = sums[0];
      for (uint32_t k = 0; k < count; ++k) sum += leaves[k * 64 + slots[k]];
      sums[0] = sum;
      return;
    }
    for (uint32_t k = 0; k < count; ++k)
      sums[t.trees[first + k].group] += leaves[k * 64 + slots[k]];
  }
};

bool Supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vbmi");
}

}  // namespace

const Level kAvx512Level = {"avx512", Supported, MarginsOfLevel<Avx512>};

}  // namespace millrace::cpu
