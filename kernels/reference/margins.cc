#include <cmath>
#include <cstdint>

#include "common/check.h"
#include "kernels/reference/evaluate.h"

namespace millrace::reference {
namespace {

// What a node asks, in the terms of the library: `threshold` of a numeric split, set of another.
struct Split {
  const PlanColumn& column;
  const PlanFeature& feature;
  uint32_t edge;  // among all edges of the plan
};

bool InSet(const PlanView& plan, const Split& split, uint32_t category) {
  const uint32_t word = category / 32;
  if (word >= split.feature.row_count) return false;
  const PlanWordRow row = plan.word_rows()[split.feature.first_row + word];
  if (split.column.first >= row.count) return false;
  return plan.words()[row.first_word + split.column.first] >> (category % 32) & 1;
}

// XGBoost: missing goes to the default child; a category that is negative, 2^24 or more, or not in
// the set goes left. float values are compared as doubles, which decides the same.
struct Xgboost {
  using Margin = float;

  static double Load(double x) { return x; }

  static bool GoesLeft(const PlanView& plan, const Split& split, double x) {
    if (std::isnan(x)) return split.column.default_left;
    if (split.column.kind == ColumnKind::kNumeric) return x < plan.edges32()[split.edge];
    constexpr double kFirstInvalidCategory = 1 << 24;
    if (x < 0 || x >= kFirstInvalidCategory) return true;
    return !InSet(plan, split, static_cast<uint32_t>(x));
  }
};

// LightGBM: see models such as `Missing`. Its matrix reader turns what is near zero into zero
// before a tree sees it, so we do too. Thresholds are compared in double, whatever the row is.
struct Lightgbm {
  using Margin = double;
  static constexpr double kZeroThreshold = 1e-35f;  // the float's value, as in the library

  static double Load(double x) { return std::fabs(x) <= kZeroThreshold ? 0.0 : x; }

  static bool GoesLeft(const PlanView& plan, const Split& split, double x) {
    if (split.column.kind == ColumnKind::kSet) {
      // Truncation makes (-1, 0] category 0. What no int32 can hold is in no set.
      if (!(x > -1.0 && x < 2147483648.0)) return false;
      return InSet(plan, split, static_cast<uint32_t>(static_cast<int32_t>(x)));
    }
    const Missing missing = split.column.missing;
    if (std::isnan(x)) {
      if (missing == Missing::kNan) return split.column.default_left;
      x = 0.0;
    }
    if (missing == Missing::kZero && x == 0.0) return split.column.default_left;
    return x <= plan.edges64()[split.edge];
  }
};

// The leaf of the tree that the row comes to, counted from the tree's first.
template <typename Family, typename Node, typename In>
uint32_t Walk(const PlanView& plan, const PlanTree& tree, const In* row) {
  if (tree.node_count == 0) return 0;
  const Node* nodes = NodesOf<Node>(plan).data() + tree.first_node;
  int32_t at = 0;
  while (at >= 0) {
    const Node& node = nodes[at];
    const PlanColumn& column = plan.columns()[NodeColumn(node)];
    const Split split = {column, plan.used_features()[column.entry], column.first + NodeEdge(node)};
    const double x = Family::Load(row[split.feature.feature]);
    at = Family::GoesLeft(plan, split, x) ? node.left : node.right;
  }
  return static_cast<uint32_t>(~at);
}

// Only LightGBM has linear leaves.
template <typename In>
double LinearLeaf(const PlanView& plan, uint64_t index, const In* row) {
  const PlanLinear& leaf = plan.linears()[index];
  double sum = leaf.constant;
  for (const PlanTerm& term : plan.terms().subspan(leaf.first_term, leaf.term_count)) {
    const double x = Lightgbm::Load(row[term.feature]);
    if (std::isnan(x)) return leaf.fallback;
    sum += term.coefficient * x;
  }
  return sum;
}

template <typename Family, typename Node, typename In>
void RowMargins(const PlanView& plan, const In* row, typename Family::Margin* out) {
  using Margin = typename Family::Margin;
  const uint32_t groups = plan.groups();
  for (uint32_t g = 0; g < groups; ++g) out[g] = static_cast<Margin>(plan.bases()[g]);
  for (const PlanTree& tree : plan.trees()) {
    const uint32_t leaf = Walk<Family, Node>(plan, tree, row);
    const Margin* value =
        LeavesOf<Margin>(plan).data() + (size_t{tree.first_leaf} + leaf) * plan.leaf_width();
    if (plan.vector_leaves()) {
      for (uint32_t g = 0; g < groups; ++g) out[g] += value[g];
    } else if (tree.first_linear != kNoLinear) {
      out[tree.group] += static_cast<Margin>(LinearLeaf(plan, tree.first_linear + leaf, row));
    } else {
      out[tree.group] += *value;
    }
  }
}

template <typename Family, typename In>
void AllMargins(const PlanView& plan, const void* rows, size_t n, void* out) {
  const In* row = static_cast<const In*>(rows);
  auto* margins = static_cast<typename Family::Margin*>(out);
  for (size_t i = 0; i < n; ++i, row += plan.features(), margins += plan.groups()) {
    if (plan.wide()) {
      RowMargins<Family, PlanWideNode>(plan, row, margins);
    } else {
      RowMargins<Family, PlanNode>(plan, row, margins);
    }
  }
}

}  // namespace

void Margins(const PlanView& plan, DataType input, const void* rows, size_t n, void* out) {
  MR_CHECK(plan.AcceptsInput(input), "the caller checks the input's type against the plan");
  if (plan.family() == TreeFamily::kXgboost) return AllMargins<Xgboost, float>(plan, rows, n, out);
  if (input == DataType::kFp32) return AllMargins<Lightgbm, float>(plan, rows, n, out);
  AllMargins<Lightgbm, double>(plan, rows, n, out);
}

}  // namespace millrace::reference
