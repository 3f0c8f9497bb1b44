// The bytes of a tree plan, version 1. README.md beside this file explains them with an example.
//
// Purpose: the one place that says how a compiled tree ensemble lies in memory. Everything is
//   little-endian, offsets count from the first byte of the image, and there are no pointers, so
//   an image runs wherever it is mapped.
// Who may include it: the writer, TreePlan (which checks an image), and kernels behind TreePlan.
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
enum class Transform : uint32_t {
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

enum class NodeKind : uint32_t { kNumeric = 0, kCategorical = 1, kLeaf = 2, kLinearLeaf = 3 };

// What LightGBM counts as missing at a split. XGBoost's splits are all kNan.
enum class Missing : uint32_t { kNone = 0, kZero = 1, kNan = 2 };

// 16 bytes. `bits` holds a double or an index, according to the kind:
//   kNumeric: the threshold; kCategorical: the index of its set;
//   kLeaf: the value, or in a plan with vector leaves the index of the first value of the vector;
//   kLinearLeaf: the index of its entry in `linear`.
// `left` is counted from the first node of the tree; the right child is the one after it.
struct PlanNode {
  uint64_t bits;
  uint32_t left;   // 0 at a leaf
  uint32_t split;  // feature 24 | kind 2 | missing 2 | default_left 1, from the lowest bit up
};
static_assert(sizeof(PlanNode) == 16 && std::is_trivially_copyable_v<PlanNode>);

inline constexpr uint32_t kFeatureBits = 24;
inline constexpr uint32_t kMaxFeatures = 1u << kFeatureBits;
inline constexpr uint32_t kKindShift = 24;
inline constexpr uint32_t kMissingShift = 26;
inline constexpr uint32_t kDefaultLeftBit = 1u << 28;
inline constexpr uint32_t kSplitMask = (1u << 29) - 1;
inline constexpr uint32_t kMaxGroups = 1u << 16;

inline uint32_t NodeFeature(const PlanNode& node) { return node.split & (kMaxFeatures - 1); }
inline NodeKind KindOf(const PlanNode& node) {
  return static_cast<NodeKind>(node.split >> kKindShift & 3);
}
inline Missing MissingOf(const PlanNode& node) {
  return static_cast<Missing>(node.split >> kMissingShift & 3);
}
inline bool DefaultLeft(const PlanNode& node) { return node.split & kDefaultLeftBit; }
inline double NodeDouble(const PlanNode& node) { return std::bit_cast<double>(node.bits); }

struct PlanTree {
  uint32_t first_node;  // trees share no node: where the tree before ended
  uint32_t node_count;  // at least 1
  uint32_t group;       // the margin it adds to; 0 in a plan with vector leaves, which add to all
  uint32_t reserved;
};
static_assert(sizeof(PlanTree) == 16);

// Category c is in the set when c < 32 * word_count and bit c % 32 of word c / 32 is set.
struct PlanSet {
  uint32_t first_word;
  uint32_t word_count;
};
static_assert(sizeof(PlanSet) == 8);

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
  kNodes,      // PlanNode
  kVectors,    // double: leaves of plans with vector leaves, `groups` each
  kSets,       // PlanSet
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
inline constexpr uint64_t kSectionElementBytes[] = {8, 16, 16, 8, 8, 4, 24, 16, 4, 1};
static_assert(sizeof kSectionElementBytes / sizeof(uint64_t) == kSectionCount);

inline constexpr uint64_t kPlanMagic = 0x314e4c5054524d89;  // 0x89 "MRTPLN1"

struct PlanHeader {
  uint64_t magic;
  uint64_t format_hash;
  uint64_t image_bytes;
  TreeFamily family;
  Transform transform;
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
static_assert(sizeof(PlanHeader) == 272);

// Says in words what the structs above say in C++; hashed, never parsed.
inline constexpr std::string_view kPlanLayout =
    "millrace tree plan 1; little endian; header: magic u64, hash u64, bytes u64, family u32 "
    "(xgboost 1, lightgbm 2), transform u32 (identity 1, sigmoid 2, exp 3, softmax 4, argmax 5, "
    "step 6, signed square 7, log1p exp 8), parameter f64, divisor u32, features u32, groups u32, "
    "columns u32, vector leaves u32, zero u32, objective c48, sections 10 x (offset u64, count u64)"
    " aligned 64 in this order: bases f64; trees (first u32, count u32, group u32, zero u32); "
    "nodes (bits u64, left u32, split u32: feature 24, kind 2 numeric categorical leaf linear, "
    "missing 2 none zero nan, default left 1), right is left + 1; vectors f64; sets (first u32, "
    "count u32); words u32; linears (constant f64, fallback f64, first u32, count u32); terms "
    "(coefficient f64, feature u32, zero u32); name ends u32; name bytes";

constexpr uint64_t HashLayout(std::string_view text) {  // FNV-1a
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}
inline constexpr uint64_t kFormatHash = HashLayout(kPlanLayout);

}  // namespace millrace
