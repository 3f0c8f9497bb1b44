// A plan as the CPU kernels read it: bare pointers and a few derived tables.
//
// Purpose: what the code of a vector level gets. Those files are compiled for processors that this
//   one may not be, so they must instantiate no library code (the linker could take their copy of a
//   function for everybody): plain structs and pointers only.
// Who may call: PreparedForest fills it; the levels read it.
// Ownership: of the PreparedForest that it came from.
// Invariants: those of PlanView; and every table derived here says the same as the plan.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/plan/format.h"

namespace millrace::cpu {

// Rows that are run at once.
inline constexpr size_t kBlockRows = 64;

// Edges are searched sixteen at a time: `blocks` blocks of sixteen, filled up with NaN, which lies
// behind no value, and before them the last edge of each block, likewise in sixteens.
inline constexpr uint32_t kEdgeBlock = 16;

struct FeatureTable {
  uint32_t feature;  // of the input
  uint32_t edge_count;
  uint32_t pivots;  // where its pivots begin in `edges`, a multiple of kEdgeBlock
  uint32_t pivot_blocks;
  uint32_t edges;  // where its edges begin in `edges`
  uint32_t first_column, numeric_columns, set_columns;
  uint32_t first_edge;  // in the plan: what a column's `first` counts from
  uint32_t first_row, row_count;
};

// A tree of at most 63 inner nodes, in one of two forms that a forest's trees share.
// Complete, where none is deeper than 6: node i has the children 2i+1 and 2i+2; where the plan's
// tree ends earlier, its leaf stands in every slot below.
// With kills, else: nodes as the plan has them, slots are leaves from left to right, and `kills`
// says which slots a row can no longer come to once it goes right at a node (those below its left
// child). The first slot that is left is the row's.
struct alignas(64) MaskTree {
  static constexpr uint32_t kDepth = 6;
  static constexpr uint32_t kNodes = 64;  // one is not used
  uint8_t column[64];
  uint8_t edge[64];  // of a node that is not there: kRight, nobody goes right
  uint8_t leaf[64];  // by slot: number of the leaf in its tree
};

// One row's columns, 64 at a time, where every feature has its rank in a byte: which feature's rank
// a column is, which columns look for NaN or for zero, and where they send it.
struct alignas(64) ColumnGroup {
  uint8_t entry[64];
  uint64_t looks_for_nan, looks_for_zero, sends_right;
};

struct ForestTables {
  TreeFamily family;
  uint32_t features, groups;
  bool vector_leaves;
  const double* bases;
  const PlanTree* trees;
  uint32_t tree_count;
  const PlanNode* nodes;           // or
  const PlanWideNode* wide_nodes;  // one of them is null
  const float* leaves32;           // by family, or
  const double* leaves64;
  const FeatureTable* used;
  uint32_t used_count;
  const PlanColumn* columns;
  uint32_t column_count;
  const float* edges32;   // of sixteens, see above
  const double* edges64;  // likewise; null for XGBoost
  const PlanWordRow* word_rows;
  const uint32_t* words;
  const PlanLinear* linears;
  const PlanTerm* terms;
  bool plain_leaves;  // every leaf is one value

  // Null where the forest does not suit. Masks: at most 256 columns, and no tree deeper than 6, or
  // none with more than 64 leaves.
  const MaskTree* masks;  // one a tree, then filled up to a multiple of 8
  // Null where trees are complete. [tree / 8][node][tree % 8], and for each eight their most nodes.
  const uint64_t* kills;
  const uint8_t* kill_nodes;
  const void* slot_leaves;  // margin type [tree][64]: the leaf of each slot; plain leaves only
  // Bytes of the leaves, [tree][sizeof margin][64]: byte b of leaf i at [b][i]. At most 64 leaves.
  const uint8_t* leaf_planes;
  // At most 256 features and columns, 255 edges a feature, no sets.
  const ColumnGroup* column_groups;

  // From so many rows on, asking all nodes costs less than finding each row's own way.
  uint32_t blend_from_rows_walking, blend_from_rows_masking;
};

}  // namespace millrace::cpu
