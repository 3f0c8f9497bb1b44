// Margins of up to 64 rows by the engine that suits: what a level's function table points at.
//
// A row's margins are sums of the same leaves in the same order whichever engine finds the leaves,
// so they do not depend on the batch. Sums are in the type of the margins, tree by tree.
//
// Included by the level files only; see columns.h. L also says:
//   kMaxWidth: the widest vector of rows, 16, 32 or 64;
//   FillOne: the columns of one row;
//   kMasks, and where it is true RowByMasks: one row through shallow trees (masks.h);
//   Sums<W, Real>: how sums of W rows lie, and how a plain tree's leaves are added to them.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/cpu/blend.h"
#include "kernels/cpu/columns.h"
#include "kernels/cpu/tables.h"
#include "kernels/cpu/walk.h"

namespace millrace::cpu {

// Sums in the order of the rows.
template <uint32_t W, class Real>
struct PlainSums {
  static uint32_t Index(uint32_t row) { return row; }

  // sums[Index(r)] += leaf numbers[r] of the tree.
  static void Add(const ForestTables& t, uint32_t tree, const uint8_t* numbers, Real* sums);
};

template <class Real>
inline const Real* LeavesOf(const ForestTables& t) {
  if constexpr (sizeof(Real) == sizeof(float)) {
    return t.leaves32;
  } else {
    return t.leaves64;
  }
}

template <class In>
inline const In* EdgesOf(const ForestTables& t) {
  if constexpr (sizeof(In) == sizeof(float)) {
    return t.edges32;
  } else {
    return t.edges64;
  }
}

template <uint32_t W, class Real>
inline void PlainSums<W, Real>::Add(const ForestTables& t, uint32_t tree, const uint8_t* numbers,
                                    Real* sums) {
  const Real* leaves = LeavesOf<Real>(t) + t.trees[tree].first_leaf;
  for (uint32_t r = 0; r < W; ++r) sums[r] += leaves[numbers[r]];
}

template <class L, class In>
inline double LinearLeaf(const ForestTables& t, uint32_t index, const In* row) {
  const PlanLinear& leaf = t.linears[index];
  constexpr double kNearZero = 1e-35f;
  double sum = leaf.constant;
  for (uint32_t i = 0; i < leaf.term_count; ++i) {
    const PlanTerm& term = t.terms[leaf.first_term + i];
    double x = row[term.feature];
    if (x != x) return leaf.fallback;
    if (x <= kNearZero && x >= -kNearZero) x = 0;
    sum += term.coefficient * x;
  }
  return sum;
}

// L: level; Real: of margins and leaves; In: of rows; Node: of the plan.
template <class L, class Real, class In, class Node>
struct Engine {
  static constexpr bool kLightgbm = sizeof(Real) == sizeof(double);

  // Adds one leaf to a row's sums; for what the fast loops do not know.
  static void AddLeaf(const ForestTables& t, const PlanTree& tree, uint32_t leaf, const In* row,
                      Real* sums, size_t stride) {
    if (t.vector_leaves) {
      const Real* values = LeavesOf<Real>(t) + (size_t{tree.first_leaf} + leaf) * t.groups;
      for (uint32_t g = 0; g < t.groups; ++g) sums[g * stride] += values[g];
    } else if (tree.first_linear != kNoLinear) {
      sums[tree.group * stride] +=
          static_cast<Real>(LinearLeaf<L>(t, tree.first_linear + leaf, row));
    } else {
      sums[tree.group * stride] += LeavesOf<Real>(t)[tree.first_leaf + leaf];
    }
  }

  static const Node* Root(const ForestTables& t, const PlanTree& tree) {
    if (tree.node_count == 0) return nullptr;
    if constexpr (sizeof(Node) == sizeof(PlanNode)) {
      return t.nodes + tree.first_node;
    } else {
      return t.wide_nodes + tree.first_node;
    }
  }

  // Leaves of trees [first, first + count), at most kWalks, for one row.
  static void WalkTrees(const ForestTables& t, uint32_t first, uint32_t count,
                        const uint8_t* columns, uint32_t* leaves) {
    const Node* roots[kWalks];
    const uint8_t* bytes[kWalks];
    for (uint32_t k = 0; k < kWalks; ++k) {
      roots[k] = k < count ? Root(t, t.trees[first + k]) : nullptr;
      bytes[k] = columns;
    }
    Walk<L>(roots, bytes, 1, leaves);
  }

  static void Row(const ForestTables& t, const In* row, Real* sums, uint8_t* columns) {
    L::template FillOne<kLightgbm>(t, EdgesOf<In>(t), row, columns);
    for (uint32_t g = 0; g < t.groups; ++g) sums[g] = static_cast<Real>(t.bases[g]);
    for (uint32_t first = 0; first < t.tree_count; first += kWalks) {
      const uint32_t left = t.tree_count - first;
      const uint32_t count = left < kWalks ? left : kWalks;
      uint32_t leaves[kWalks];
      WalkTrees(t, first, count, columns, leaves);
      for (uint32_t k = 0; k < count; ++k) {
        AddLeaf(t, t.trees[first + k], leaves[k], row, sums, 1);
      }
    }
  }

  // Leaves of W rows in a tree of many leaves: eight rows walk at once.
  template <uint32_t W>
  static void WalkRows(const ForestTables& t, const PlanTree& tree, const uint8_t* columns,
                       uint32_t* leaves) {
    const Node* roots[kWalks];
    const uint8_t* bytes[kWalks];
    for (uint32_t r = 0; r < W; r += kWalks) {
      for (uint32_t k = 0; k < kWalks; ++k) {
        roots[k] = Root(t, tree);
        bytes[k] = columns + r + k;
      }
      Walk<L>(roots, bytes, W, leaves + r);
    }
  }

  // Adds tree i to the sums of W rows, [groups][W].
  template <uint32_t W>
  static void AddTree(const ForestTables& t, uint32_t i, const In* const* rows,
                      const uint8_t* columns, BlendTable<W>* table, Real* sums) {
    using Sums = typename L::template Sums<W, Real>;
    const PlanTree& tree = t.trees[i];
    uint32_t leaves[W];
    bool found = false;
    if constexpr (sizeof(Node) == sizeof(PlanNode)) {
      if (tree.leaf_count <= kMaxBlendLeaves) {
        const uint8_t* numbers = Blend<L, W>(Root(t, tree), tree.node_count, columns, table);
        if (t.plain_leaves) return Sums::Add(t, i, numbers, sums + size_t{tree.group} * W);
        for (uint32_t r = 0; r < W; ++r) leaves[r] = numbers[r];
        found = true;
      }
    }
    if (!found) WalkRows<W>(t, tree, columns, leaves);
    for (uint32_t r = 0; r < W; ++r) {
      AddLeaf(t, tree, leaves[r], rows[r], sums + Sums::Index(r), W);
    }
  }

  // n rows, at most W; the lanes above repeat the last one.
  template <uint32_t W>
  static void Block(const ForestTables& t, const In* const* rows, Real* const* out, size_t n,
                    uint8_t* scratch) {
    const In* padded[W];
    for (uint32_t r = 0; r < W; ++r) padded[r] = rows[r < n ? r : n - 1];
    auto* table = reinterpret_cast<BlendTable<W>*>(scratch);
    auto* sums = reinterpret_cast<Real*>(scratch + sizeof(BlendTable<W>));
    auto* columns = reinterpret_cast<uint8_t*>(sums + size_t{t.groups} * W);
    FillColumns<L, W, kLightgbm>(t, EdgesOf<In>(t), padded, columns);
    for (uint32_t g = 0; g < t.groups; ++g) {
      for (uint32_t r = 0; r < W; ++r) sums[size_t{g} * W + r] = static_cast<Real>(t.bases[g]);
    }
    table->Start();
    for (uint32_t i = 0; i < t.tree_count; ++i) AddTree<W>(t, i, padded, columns, table, sums);
    for (uint32_t r = 0; r < n; ++r) {
      const uint32_t at = L::template Sums<W, Real>::Index(r);
      for (uint32_t g = 0; g < t.groups; ++g) out[r][g] = sums[size_t{g} * W + at];
    }
  }

  static void Rows(const ForestTables& t, bool masks, const In* const* rows, Real* const* out,
                   size_t n, uint8_t* scratch) {
    for (size_t r = 0; r < n; ++r) {
      if constexpr (L::kMasks && sizeof(Node) == sizeof(PlanNode)) {
        if (masks) {
          L::template RowByMasks<Engine, Real>(t, rows[r], out[r], scratch);
          continue;
        }
      }
      Row(t, rows[r], out[r], scratch);
    }
    (void)masks;
  }

  static void Margins(const ForestTables& t, const void* const* rows, void* const* out, size_t n,
                      uint8_t* scratch) {
    const auto* in = reinterpret_cast<const In* const*>(rows);
    auto* margins = reinterpret_cast<Real* const*>(out);
    const bool masks = L::kMasks && t.masks != nullptr;
    const size_t blend_from = masks ? t.blend_from_rows_masking : t.blend_from_rows_walking;
    while (n > 0) {
      if (n < blend_from) return Rows(t, masks, in, margins, n, scratch);
      size_t done = n;
      if constexpr (L::kMaxWidth >= 64) {
        if (n > 32) {
          Block<64>(t, in, margins, done, scratch);
          return;
        }
      }
      if constexpr (L::kMaxWidth >= 32) {
        if (n > 16) {
          done = n < 32 ? n : 32;
          Block<32>(t, in, margins, done, scratch);
          in += done, margins += done, n -= done;
          continue;
        }
      }
      done = n < 16 ? n : 16;
      Block<16>(t, in, margins, done, scratch);
      in += done, margins += done, n -= done;
    }
  }
};

// The function of the level's table; `wide_rows`: rows are double.
template <class L>
inline void MarginsOfLevel(const ForestTables& t, bool wide_rows, const void* const* rows,
                           void* const* out, size_t n, uint8_t* scratch) {
  const bool wide = t.wide_nodes != nullptr;
  if (t.family == TreeFamily::kXgboost) {
    if (wide) return Engine<L, float, float, PlanWideNode>::Margins(t, rows, out, n, scratch);
    return Engine<L, float, float, PlanNode>::Margins(t, rows, out, n, scratch);
  }
  if (wide_rows) {
    if (wide) return Engine<L, double, double, PlanWideNode>::Margins(t, rows, out, n, scratch);
    return Engine<L, double, double, PlanNode>::Margins(t, rows, out, n, scratch);
  }
  if (wide) return Engine<L, double, float, PlanWideNode>::Margins(t, rows, out, n, scratch);
  Engine<L, double, float, PlanNode>::Margins(t, rows, out, n, scratch);
}

}  // namespace millrace::cpu
