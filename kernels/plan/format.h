// The bytes of a tree plan, version 2. README.md beside this file explains them with an example.
//
// Purpose: the one place that says how a compiled tree ensemble lies in memory. Everything is
//   little-endian, offsets count from the first byte of the image, and there are no pointers, so
//   an image runs wherever it is mapped.
// Who may include it: the builder, TreePlan (which checks an image), and kernels behind PlanView.
// Invariants:
//   1. A change to any struct, enum value or rule below changes kPlanLayout, hence kFormatHash:
//      a plan of another format is refused, never misread.
//   2. Padding and reserved fields are zero.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <bit>
#include <string_view>
#include <type_traits>

#include "common/datatype.h"

namespace millrace {

static_assert(std::endian::native == std::endian::little, "plans are little-endian");

// How a split is decided and in which precision sums are kept: both are the trainer's.
enum class TreeFamily : uint32_t {
  kXgboost = 1,   // x < threshold, float32 sums; categories in the set go right
  kLightgbm = 2,  // x <= threshold, float64 sums; categories in the set go left
};

// From margins to predictions, in the precision of the margins.
enum class MarginTransform : uint32_t {
  kIdentity = 1,
  kSigmoid = 2,  // of parameter * margin
  kExp = 3,
  kSoftmax = 4,       // over the groups
  kArgmax = 5,        // one column: the index of the greatest margin, the first of equals
  kStep = 6,          // 1 where the margin is above 0, else 0
  kSignedSquare = 7,  // sign(margin) * margin * margin
  kLog1pExp = 8,
};
inline constexpr uint32_t kTransformCount = 8;

enum class ColumnKind : uint8_t { kNumeric = 0, kSet = 1 };

// What LightGBM counts as missing at a split. XGBoost's splits are all kNan.
enum class Missing : uint8_t { kNone = 0, kZero = 1, kNan = 2 };

// A row is first turned into bytes, one for each column of the plan; then a node is one comparison
// of bytes: left where column <= edge. What is missing, and where it goes, is settled by the byte,
// so nodes know nothing of it. Values of a column's byte:
//   kNumeric: how many of the feature's edges, counted from the column's `first`, the value lies
//     beyond (XGBoost: edge <= value, LightGBM: edge < value), limited to 0..255. A feature with
//     more edges than a byte can count, or with nodes that send the missing to different sides, has
//     several columns;
//   kSet: 0 where the category goes left, kRight where it goes right;
//   missing: 0 where it goes left, kRight where it goes right.
inline constexpr uint8_t kRight = 255;
inline constexpr uint32_t kEdgesInColumn = 255;  // a node's edge is 0..254, so kRight is beyond all

struct PlanColumn {
  uint32_t entry;  // number of its PlanFeature
  uint32_t
      first;  // kNumeric: the first edge that is counted; kSet: its number among the set columns
  ColumnKind kind;
  Missing missing;  // LightGBM's sets: kNone, they know nothing of it
  uint8_t default_left;
  uint8_t reserved;
};
static_assert(sizeof(PlanColumn) == 12);

// A feature that some node looks at, in rising order; its edges, columns and rows stand side by
// side and begin where those of the entry before ended.
struct PlanFeature {
  uint32_t feature;
  uint32_t first_edge, edge_count;
  uint32_t first_column, numeric_columns, set_columns;  // numeric ones first
  uint32_t first_row, row_count;                        // of set words
};
static_assert(sizeof(PlanFeature) == 32);

// Row w of a feature: word w of the bit sets of its first `count` set columns, side by side.
// Category c is in the set of set column j when j < count of row c / 32 and bit c % 32 of the j-th
// word of that row is set. Set columns stand in falling order of their number of words.
struct PlanWordRow {
  uint32_t first_word;
  uint32_t count;
};
static_assert(sizeof(PlanWordRow) == 8);

// An inner node. `test` is column << 8 | edge. A child is the number of an inner node of the tree,
// or, where it is negative, ~child is the number of a leaf of the tree. Breadth first: going over
// the children of node after node, left before right, inner nodes come as 1, 2, 3, ... and leaves
// as 0, 1, 2, ..., each once. So a child stands behind its parent, and there is a leaf more than
// there are inner nodes.
struct PlanNode {
  uint32_t test;
  int16_t left, right;
};
static_assert(sizeof(PlanNode) == 8);

// The same for plans with a tree of more than 2^15 inner nodes or leaves.
struct PlanWideNode {
  uint32_t test;
  int32_t left, right;
};
static_assert(sizeof(PlanWideNode) == 12);

template <typename Node>
constexpr uint32_t NodeColumn(const Node& node) {
  return node.test >> 8;
}
template <typename Node>
constexpr uint32_t NodeEdge(const Node& node) {
  return node.test & 255;
}

inline constexpr uint32_t kMaxFeatures = 1u << 24;
inline constexpr uint32_t kMaxColumns = 1u << 24;
inline constexpr uint32_t kMaxGroups = 1u << 16;
inline constexpr uint32_t kNoLinear = ~0u;

// Trees share neither nodes nor leaves: each begins where the tree before it ended.
struct PlanTree {
  uint32_t first_node, node_count;  // inner nodes, breadth first; none: leaf 0 for every row
  uint32_t first_leaf, leaf_count;  // at least one leaf
  uint32_t group;                   // the margin it adds to; 0 in a plan with vector leaves
  uint32_t first_linear;            // of leaf_count entries in `linears`, or kNoLinear
  uint32_t reserved[2];
};
static_assert(sizeof(PlanTree) == 32);

// constant + sum of coefficient * feature, in order; `fallback` if one of the features is NaN.
struct PlanLinear {
  double constant;
  double fallback;
  uint32_t first_term;
  uint32_t term_count;
};
static_assert(sizeof(PlanLinear) == 24);

struct PlanTerm {
  double coefficient;
  uint32_t feature;
  uint32_t reserved;
};
static_assert(sizeof(PlanTerm) == 16);

// The sections, in the order in which they follow the header.
enum Section : uint32_t {
  kBases,      // double[groups]: what each margin starts from
  kTrees,      // PlanTree, in the order in which they are summed
  kNodes,      // PlanNode; none in a wide plan
  kWideNodes,  // PlanWideNode; none unless the plan is wide
  kLeaves32,   // float: XGBoost's leaves, or `groups` floats each in a plan with vector leaves
  kLeaves64,   // double: LightGBM's leaves, likewise
  kFeatures,   // PlanFeature
  kColumns,    // PlanColumn
  kEdges32,    // float: the thresholds of each feature in rising order, exact for float32 rows
  kEdges64,    // double: the same ones for float64 rows; LightGBM only
  kWordRows,   // PlanWordRow
  kWords,      // uint32_t
  kLinears,    // PlanLinear
  kTerms,      // PlanTerm
  kNameEnds,   // uint32_t: where the name of each feature ends in kNameBytes; none or all
  kNameBytes,  // char
  kSectionCount,
};

struct PlanSection {
  uint64_t offset;  // a multiple of kSectionAlignment
  uint64_t count;   // elements, not bytes
};

inline constexpr uint64_t kSectionAlignment = 64;
inline constexpr uint64_t kSectionElementBytes[] = {8, 32, 8, 12, 4,  8,  32, 12,
                                                    4, 8,  8, 4,  24, 16, 4,  1};
static_assert(sizeof kSectionElementBytes / sizeof(uint64_t) == kSectionCount);

inline constexpr uint64_t kPlanMagic = 0x324e4c5054524d89;  // 0x89 "MRTPLN2"

struct PlanHeader {
  uint64_t magic;
  uint64_t format_hash;
  uint64_t image_bytes;
  TreeFamily family;
  MarginTransform transform;
  double transform_parameter;  // finite and above 0; 1 where the transform has none
  uint32_t average_divisor;    // margins are divided by it before the transform; 0: they are not,
                               // nor ever for kArgmax
  uint32_t features;
  uint32_t groups;
  uint32_t prediction_columns;  // 1 for kArgmax, else groups
  uint32_t vector_leaves;       // 1 or 0
  uint32_t reserved;
  char objective[48];  // as the model file names it, NUL padded; for people, not for evaluation
  PlanSection sections[kSectionCount];
};
static_assert(offsetof(PlanHeader, transform_parameter) == 32);
static_assert(offsetof(PlanHeader, objective) == 64);
static_assert(offsetof(PlanHeader, sections) == 112);
static_assert(sizeof(PlanHeader) == 368);

// Says in words what the structs above say in C++; hashed, never parsed.
inline constexpr std::string_view kPlanLayout =
    "millrace tree plan 2; little endian; header: magic u64, hash u64, bytes u64, family u32 "
    "(xgboost 1, lightgbm 2), transform u32 (identity 1, sigmoid 2, exp 3, softmax 4, argmax 5, "
    "step 6, signed square 7, log1p exp 8), parameter f64, divisor u32, features u32, groups u32, "
    "columns u32, vector leaves u32, zero u32, objective c48, sections 16 x (offset u64, count u64)"
    " aligned 64 in this order: bases f64; trees (first node u32, nodes u32, first leaf u32, leaves"
    " u32, group u32, first linear u32 or ones, zero 2 u32); nodes (column << 8 | edge u32, left "
    "i16, right i16, ~leaf below 0), left where byte <= edge; wide nodes (the same with i32); "
    "leaves f32; leaves f64; features (feature u32, first edge u32, edges u32, first column "
    "u32, numeric columns u32, set columns u32, first row u32, rows u32); columns (entry u32, "
    "first u32, kind u8 numeric set, missing u8 none zero nan, default left u8, zero u8), byte: "
    "edges beyond from first, set and missing: 0 left, 255 right; edges f32; edges f64; word rows "
    "(first u32, count u32); words u32; linears (constant f64, fallback f64, first u32, count u32);"
    " terms (coefficient f64, feature u32, zero u32); name ends u32; name bytes";

constexpr uint64_t HashLayout(std::string_view text) {  // FNV-1a
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}
inline constexpr uint64_t kFormatHash = HashLayout(kPlanLayout);

}  // namespace millrace
