#include <cmath>
#include <cstdint>

#include "common/check.h"
#include "kernels/reference/evaluate.h"

namespace millrace::reference {
namespace {

bool InSet(const TreePlan& plan, uint64_t set_index, uint32_t category) {
  const PlanSet set = plan.sets()[set_index];
  const uint32_t word = category / 32;
  if (word >= set.word_count) return false;
  return plan.words()[set.first_word + word] >> (category % 32) & 1;
}

// XGBoost: missing goes to the default child; a category that is negative, 2^24 or more, or not in
// the set goes left. float values are compared as doubles, which decides the same.
struct Xgboost {
  using Margin = float;

  static double Load(double x) { return x; }

  static bool GoesLeft(const TreePlan& plan, const PlanNode& node, double x) {
    if (std::isnan(x)) return DefaultLeft(node);
    if (KindOf(node) == NodeKind::kNumeric) return x < NodeDouble(node);
    constexpr double kFirstInvalidCategory = 1 << 24;
    if (x < 0 || x >= kFirstInvalidCategory) return true;
    return !InSet(plan, node.bits, static_cast<uint32_t>(x));
  }
};

// LightGBM: see models such as `Missing`. Its matrix reader turns what is near zero into zero
// before a tree sees it, so we do too.
struct Lightgbm {
  using Margin = double;
  static constexpr double kZeroThreshold = 1e-35f;  // the float's value, as in the library

  static double Load(double x) { return std::fabs(x) <= kZeroThreshold ? 0.0 : x; }

  static bool GoesLeft(const TreePlan& plan, const PlanNode& node, double x) {
    if (KindOf(node) == NodeKind::kCategorical) {
      // Truncation makes (-1, 0] category 0. What no int32 can hold is in no set.
      if (!(x > -1.0 && x < 2147483648.0)) return false;
      return InSet(plan, node.bits, static_cast<uint32_t>(static_cast<int32_t>(x)));
    }
    const Missing missing = MissingOf(node);
    if (std::isnan(x)) {
      if (missing == Missing::kNan) return DefaultLeft(node);
      x = 0.0;
    }
    if (missing == Missing::kZero && x == 0.0) return DefaultLeft(node);
    return x <= NodeDouble(node);
  }
};

template <typename Family, typename In>
const PlanNode& Walk(const TreePlan& plan, const PlanTree& tree, const In* row) {
  const PlanNode* nodes = plan.nodes().data() + tree.first_node;
  const PlanNode* node = nodes;
  while (KindOf(*node) == NodeKind::kNumeric || KindOf(*node) == NodeKind::kCategorical) {
    const double x = Family::Load(row[NodeFeature(*node)]);
    node = nodes + node->left + (Family::GoesLeft(plan, *node, x) ? 0 : 1);
  }
  return *node;
}

// Only LightGBM has linear leaves.
template <typename In>
double LinearLeaf(const TreePlan& plan, uint64_t index, const In* row) {
  const PlanLinear& leaf = plan.linears()[index];
  double sum = leaf.constant;
  for (const PlanTerm& term : plan.terms().subspan(leaf.first_term, leaf.term_count)) {
    const double x = Lightgbm::Load(row[term.feature]);
    if (std::isnan(x)) return leaf.fallback;
    sum += term.coefficient * x;
  }
  return sum;
}

template <typename Family, typename In>
void RowMargins(const TreePlan& plan, const In* row, typename Family::Margin* out) {
  using Margin = typename Family::Margin;
  const uint32_t groups = plan.groups();
  for (uint32_t g = 0; g < groups; ++g) out[g] = static_cast<Margin>(plan.bases()[g]);
  for (const PlanTree& tree : plan.trees()) {
    const PlanNode& leaf = Walk<Family>(plan, tree, row);
    if (plan.vector_leaves()) {
      const double* values = plan.vectors().data() + leaf.bits;
      for (uint32_t g = 0; g < groups; ++g) out[g] += static_cast<Margin>(values[g]);
    } else if (KindOf(leaf) == NodeKind::kLinearLeaf) {
      out[tree.group] += static_cast<Margin>(LinearLeaf(plan, leaf.bits, row));
    } else {
      out[tree.group] += static_cast<Margin>(NodeDouble(leaf));
    }
  }
}

template <typename Family, typename In>
void AllMargins(const TreePlan& plan, const void* rows, size_t n, void* out) {
  const In* row = static_cast<const In*>(rows);
  auto* margins = static_cast<typename Family::Margin*>(out);
  for (size_t i = 0; i < n; ++i, row += plan.features(), margins += plan.groups()) {
    RowMargins<Family>(plan, row, margins);
  }
}

}  // namespace

void Margins(const TreePlan& plan, DataType input, const void* rows, size_t n, void* out) {
  MR_CHECK(plan.AcceptsInput(input), "the caller checks the input's type against the plan");
  if (plan.family() == TreeFamily::kXgboost) return AllMargins<Xgboost, float>(plan, rows, n, out);
  if (input == DataType::kFp32) return AllMargins<Lightgbm, float>(plan, rows, n, out);
  AllMargins<Lightgbm, double>(plan, rows, n, out);
}

}  // namespace millrace::reference
