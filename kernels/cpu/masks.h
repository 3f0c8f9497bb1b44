// One row through small trees: all nodes of a tree in one comparison.
//
// A row's bytes are held in registers. A byte permute brings each of a tree's 63 nodes its column's
// byte, and one comparison with the 63 edges gives a bit a node (1: right). Eight trees then go
// side by side: down their bits where they are complete, six steps of shift and add without
// touching memory; or by striking out, for each node where the row goes right, the leaves on its
// left, as QuickScorer does (Lucchese et al., SIGIR 2015): the first leaf that is left is the
// row's.
//
// Included by avx512.cc only.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu/columns.h"
#include "kernels/cpu/tables.h"

namespace millrace::cpu {

// Bits of so many trees are found before the first of them is read again.
inline constexpr uint32_t kMaskTrees = 64;

// Up to 256 columns.
struct RowBytes {
  __m512i bytes[4];
  uint32_t registers;  // 1, 2 or 4
};

static inline RowBytes LoadRow(const uint8_t* columns, uint32_t count) {
  RowBytes row;
  row.registers = count <= 64 ? 1 : count <= 128 ? 2 : 4;
  for (uint32_t i = 0; i < 4; ++i) {
    row.bytes[i] =
        i < row.registers ? _mm512_loadu_si512(columns + 64 * i) : _mm512_setzero_si512();
  }
  return row;
}

// Byte index[i] of the row, for 64 indexes at once.
template <uint32_t kRegisters>
static inline __m512i PermuteOf(const RowBytes& row, __m512i index) {
  if constexpr (kRegisters == 1) return _mm512_permutexvar_epi8(index, row.bytes[0]);
  const __m512i low = _mm512_permutex2var_epi8(row.bytes[0], index, row.bytes[1]);
  if constexpr (kRegisters == 2) return low;
  const __m512i high = _mm512_permutex2var_epi8(row.bytes[2], index, row.bytes[3]);
  return _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high);
}

static inline __m512i Permute(const RowBytes& row, __m512i index) {
  return row.registers == 1   ? PermuteOf<1>(row, index)
         : row.registers == 2 ? PermuteOf<2>(row, index)
                              : PermuteOf<4>(row, index);
}

// A bit a node: the row goes right there.
template <uint32_t kRegisters>
static inline uint64_t RightBits(const MaskTree& tree, const RowBytes& row) {
  const __m512i bytes = PermuteOf<kRegisters>(row, _mm512_load_si512(tree.column));
  return _mm512_cmpgt_epu8_mask(bytes, _mm512_load_si512(tree.edge));
}

// Where eight rows of bits lead in complete trees.
static inline __m512i SlotsOfComplete(__m512i bits) {
  const __m512i one = _mm512_set1_epi64(1);
  // Counted from 1, node n has the children 2n and 2n + 1, and its bit is bit n once shifted.
  const __m512i right = _mm512_slli_epi64(bits, 1);
  __m512i at = one;
  for (uint32_t level = 0; level < MaskTree::kDepth; ++level) {
    const __m512i bit = _mm512_and_si512(_mm512_srlv_epi64(right, at), one);
    at = _mm512_add_epi64(_mm512_add_epi64(at, at), bit);
  }
  return _mm512_sub_epi64(at, _mm512_set1_epi64(64));
}

// Where they lead in trees with kills: the first slot that no node on the right killed. A node off
// the row's path kills only what lies behind that slot or is killed by the path.
static inline __m512i SlotsOfKills(__m512i bits, const uint64_t* kills, uint32_t nodes) {
  __m512i dead = _mm512_setzero_si512();
  for (uint32_t i = 0; i < nodes; ++i) {
    const __mmask8 right = _mm512_test_epi64_mask(bits, _mm512_set1_epi64(int64_t{1} << i));
    dead = _mm512_mask_or_epi64(dead, right, dead, _mm512_load_si512(kills + 8 * i));
  }
  // The lowest bit of what is alive, by number.
  const __m512i above = _mm512_add_epi64(dead, _mm512_set1_epi64(1));
  const __m512i lowest = _mm512_andnot_si512(dead, above);
  return _mm512_sub_epi64(_mm512_set1_epi64(63), _mm512_lzcnt_epi64(lowest));
}

// slots[k]: where the row ends in tree first + k; of `eights` groups of eight trees.
template <uint32_t kRegisters>
static inline void FindSlotsOf(const ForestTables& t, uint32_t first, uint32_t eights,
                               const RowBytes& row, uint64_t* slots) {
  alignas(64) uint64_t bits[kMaskTrees];
  for (uint32_t k = 0; k < 8 * eights; ++k)
    bits[k] = RightBits<kRegisters>(t.masks[first + k], row);
  for (uint32_t i = 0; i < eights; ++i) {
    const __m512i eight = _mm512_load_si512(bits + 8 * i);
    const size_t group = first / 8 + i;
    const __m512i found =
        t.kills == nullptr
            ? SlotsOfComplete(eight)
            : SlotsOfKills(eight, t.kills + group * MaskTree::kNodes * 8, t.kill_nodes[group]);
    _mm512_store_si512(slots + 8 * i, found);
  }
}

static inline void FindSlots(const ForestTables& t, uint32_t first, uint32_t eights,
                             const RowBytes& row, uint64_t* slots) {
  switch (row.registers) {
    case 1:
      return FindSlotsOf<1>(t, first, eights, row, slots);
    case 2:
      return FindSlotsOf<2>(t, first, eights, row, slots);
    default:
      return FindSlotsOf<4>(t, first, eights, row, slots);
  }
}

// As FillColumns for one row, where column_groups are there: ranks first, then 64 columns at once.
// `columns` has room for 256 bytes.
template <class L, bool kLightgbm, class Real>
static inline void FillRow(const ForestTables& t, const Real* edges, const Real* row,
                           uint8_t* columns) {
  alignas(64) uint8_t ranks[256], nans[256], zeros[256];
  for (uint32_t i = 0; i < t.used_count; ++i) {
    const FeatureTable& f = t.used[i];
    Real x = row[f.feature];
    nans[i] = x != x ? 255 : 0;
    if constexpr (kLightgbm) {
      constexpr Real kNearZero = 1e-35f;
      if (x != x || (x <= kNearZero && x >= -kNearZero)) x = 0;
      zeros[i] = x == 0 ? 255 : 0;
    }
    ranks[i] = static_cast<uint8_t>(Rank<L, kLightgbm>(edges, f, x));
  }
  const RowBytes rank = LoadRow(ranks, t.used_count), nan = LoadRow(nans, t.used_count);
  const RowBytes zero = kLightgbm ? LoadRow(zeros, t.used_count) : nan;
  for (uint32_t c = 0; c < t.column_count; c += 64) {
    const ColumnGroup& group = t.column_groups[c / 64];
    const __m512i entry = _mm512_load_si512(group.entry);
    const __m512i bytes = Permute(rank, entry);
    uint64_t missing = _mm512_movepi8_mask(Permute(nan, entry)) & group.looks_for_nan;
    if constexpr (kLightgbm) {
      missing |= _mm512_movepi8_mask(Permute(zero, entry)) & group.looks_for_zero;
    }
    const __m512i side = _mm512_movm_epi8(group.sends_right);
    _mm512_store_si512(columns + c, _mm512_mask_blend_epi8(missing, bytes, side));
  }
}

}  // namespace millrace::cpu
