#include "kernels/compile/lightgbm_tree.h"

#include <cmath>
#include <vector>

#include "absl/types/span.h"
#include "kernels/compile/document.h"

namespace millrace {
namespace {

constexpr int64_t kCategoricalBit = 1;
constexpr int64_t kDefaultLeft = 2;
constexpr int kMissingTypeShift = 2;
constexpr int64_t kMaxDecisionType = 15;

struct LinearColumns {
  std::vector<double> constant, coefficient;
  std::vector<int64_t> feature, first;  // the terms of leaf i: [first[i], first[i + 1])
};

struct Columns {
  uint32_t leaves = 0;
  uint32_t inner = 0;
  std::vector<int64_t> left, right, feature, decision;
  std::vector<double> threshold, leaf_value;
  std::vector<int64_t> boundaries, words;  // category sets; empty where there are none
  bool linear = false;
  LinearColumns terms;
};

template <typename T>
absl::Status Take(absl::StatusOr<std::vector<T>> column, std::vector<T>* out) {
  if (!column.ok()) return column.status();
  *out = *std::move(column);
  return absl::OkStatus();
}

absl::Status ReadCategories(const LightgbmBlock& tree, int64_t sets, Columns* columns) {
  MR_RETURN_IF_ERROR(Take(FieldIntegers(tree, "cat_boundaries", sets + 1), &columns->boundaries));
  for (size_t i = 0; i < columns->boundaries.size(); ++i) {
    const int64_t low = i == 0 ? 0 : columns->boundaries[i - 1];
    const int64_t high = i == 0 ? 0 : INT32_MAX;
    if (columns->boundaries[i] < low || columns->boundaries[i] > high) {
      return Fault(tree.path, ".cat_boundaries[", i, "]: ", columns->boundaries[i],
                   " is out of order");
    }
  }
  MR_RETURN_IF_ERROR(
      Take(FieldIntegers(tree, "cat_threshold", columns->boundaries.back()), &columns->words));
  for (size_t i = 0; i < columns->words.size(); ++i) {
    if (columns->words[i] < 0 || columns->words[i] > UINT32_MAX) {
      return Fault(tree.path, ".cat_threshold[", i, "]: is not a 32-bit word");
    }
  }
  return absl::OkStatus();
}

absl::Status ReadLinear(const LightgbmBlock& tree, uint32_t features, Columns* columns) {
  LinearColumns& out = columns->terms;
  MR_RETURN_IF_ERROR(Take(FieldDoubles(tree, "leaf_const", columns->leaves), &out.constant));
  std::vector<int64_t> counts;
  MR_RETURN_IF_ERROR(Take(FieldIntegers(tree, "num_features", columns->leaves), &counts));
  out.first.push_back(0);
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] < 0 || counts[i] > features) {
      return Fault(tree.path, ".num_features[", i, "]: ", counts[i], " is out of range");
    }
    out.first.push_back(out.first.back() + counts[i]);
  }
  MR_RETURN_IF_ERROR(Take(FieldIntegers(tree, "leaf_features", out.first.back()), &out.feature));
  MR_RETURN_IF_ERROR(Take(FieldDoubles(tree, "leaf_coeff", out.first.back()), &out.coefficient));
  for (size_t i = 0; i < out.feature.size(); ++i) {
    if (out.feature[i] < 0 || out.feature[i] >= features) {
      return Fault(tree.path, ".leaf_features[", i, "]: feature ", out.feature[i],
                   " is out of range");
    }
    if (!std::isfinite(out.coefficient[i])) {
      return Fault(tree.path, ".leaf_coeff[", i, "]: is not finite");
    }
  }
  for (size_t i = 0; i < out.constant.size(); ++i) {
    if (!std::isfinite(out.constant[i])) {
      return Fault(tree.path, ".leaf_const[", i, "]: is not finite");
    }
  }
  return absl::OkStatus();
}

absl::Status ReadColumns(const LightgbmBlock& tree, uint32_t features, Columns* columns) {
  const absl::StatusOr<int64_t> leaves = FieldInteger(tree, "num_leaves", 1, INT32_MAX);
  if (!leaves.ok()) return leaves.status();
  const absl::StatusOr<int64_t> sets = FieldInteger(tree, "num_cat", 0, INT32_MAX);
  if (!sets.ok()) return sets.status();
  columns->leaves = static_cast<uint32_t>(*leaves);
  columns->inner = columns->leaves - 1;
  MR_RETURN_IF_ERROR(Take(FieldDoubles(tree, "leaf_value", columns->leaves), &columns->leaf_value));
  if (tree.Has("is_linear")) {
    const absl::StatusOr<int64_t> linear = FieldInteger(tree, "is_linear", 0, 1);
    if (!linear.ok()) return linear.status();
    columns->linear = *linear != 0;
  }
  if (columns->linear) MR_RETURN_IF_ERROR(ReadLinear(tree, features, columns));
  if (columns->inner == 0) return absl::OkStatus();
  const uint32_t inner = columns->inner;
  MR_RETURN_IF_ERROR(Take(FieldIntegers(tree, "left_child", inner), &columns->left));
  MR_RETURN_IF_ERROR(Take(FieldIntegers(tree, "right_child", inner), &columns->right));
  MR_RETURN_IF_ERROR(Take(FieldIntegers(tree, "split_feature", inner), &columns->feature));
  MR_RETURN_IF_ERROR(Take(FieldDoubles(tree, "threshold", inner), &columns->threshold));
  columns->decision.resize(inner);
  if (tree.Has("decision_type")) {
    MR_RETURN_IF_ERROR(Take(FieldIntegers(tree, "decision_type", inner), &columns->decision));
  }
  if (*sets > 0) MR_RETURN_IF_ERROR(ReadCategories(tree, *sets, columns));
  return absl::OkStatus();
}

// Nodes are numbered as drafts: the inner ones first, then the leaves.
class NodeReader {
 public:
  NodeReader(const LightgbmBlock& tree, uint32_t features, const Columns& columns,
             PlanWriter* writer)
      : tree_(tree), features_(features), columns_(columns), writer_(writer) {}

  absl::StatusOr<DraftNode> operator()(uint32_t i) const {
    if (i >= columns_.inner) return Leaf(i - columns_.inner);
    absl::StatusOr<DraftNode> node = Split(i);
    if (!node.ok()) return node;
    MR_RETURN_IF_ERROR(Child("left_child", i, columns_.left[i], &node->left));
    MR_RETURN_IF_ERROR(Child("right_child", i, columns_.right[i], &node->right));
    return node;
  }

 private:
  // The file writes leaf n as -n - 1.
  absl::Status Child(const char* field, uint32_t i, int64_t child, uint32_t* out) const {
    if (child >= columns_.inner || child < -static_cast<int64_t>(columns_.leaves)) {
      return Fault(tree_.path, ".", field, "[", i, "]: ", child, " is out of range");
    }
    *out = static_cast<uint32_t>(child >= 0 ? child : columns_.inner - child - 1);
    return absl::OkStatus();
  }

  absl::StatusOr<DraftNode> Split(uint32_t i) const {
    const int64_t feature = columns_.feature[i];
    if (feature < 0 || feature >= features_) {
      return Fault(tree_.path, ".split_feature[", i, "]: feature ", feature, " is out of range");
    }
    const int64_t decision = columns_.decision[i];
    const int64_t missing = decision >> kMissingTypeShift;
    if (decision < 0 || decision > kMaxDecisionType || missing > 2) {
      return Fault(tree_.path, ".decision_type[", i, "]: ", decision, " is not known");
    }
    const bool default_left = (decision & kDefaultLeft) != 0;
    const double threshold = columns_.threshold[i];
    if ((decision & kCategoricalBit) == 0) {
      if (std::isnan(threshold)) {
        return Fault(tree_.path, ".threshold[", i, "]: the threshold is NaN");
      }
      return DraftNumeric(static_cast<uint32_t>(feature), threshold, static_cast<Missing>(missing),
                          default_left);
    }
    const double sets = static_cast<double>(columns_.boundaries.size()) - 1;
    if (!(threshold >= 0 && threshold < sets && threshold == std::floor(threshold))) {
      return Fault(tree_.path, ".threshold[", i, "]: names no category set");
    }
    const auto set = static_cast<size_t>(threshold);
    const std::vector<uint32_t> words(columns_.words.begin() + columns_.boundaries[set],
                                      columns_.words.begin() + columns_.boundaries[set + 1]);
    return DraftCategorical(static_cast<uint32_t>(feature), writer_->AddSet(words),
                            static_cast<Missing>(missing), default_left);
  }

  absl::StatusOr<DraftNode> Leaf(uint32_t leaf) const {
    const double value = columns_.leaf_value[leaf];
    if (!std::isfinite(value)) {
      return Fault(tree_.path, ".leaf_value[", leaf, "]: is not finite");
    }
    if (!columns_.linear) return DraftLeaf(value);
    const LinearColumns& linear = columns_.terms;
    std::vector<PlanTerm> terms;
    for (int64_t i = linear.first[leaf]; i < linear.first[leaf + 1]; ++i) {
      terms.push_back({.coefficient = linear.coefficient[i],
                       .feature = static_cast<uint32_t>(linear.feature[i]),
                       .reserved = 0});
    }
    return DraftIndexLeaf(NodeKind::kLinearLeaf,
                          writer_->AddLinear(linear.constant[leaf], value, terms));
  }

  const LightgbmBlock& tree_;
  const uint32_t features_;
  const Columns& columns_;
  PlanWriter* const writer_;
};

}  // namespace

absl::Status AddLightgbmTree(const LightgbmBlock& tree, uint32_t features, uint32_t group,
                             PlanWriter* writer) {
  Columns columns;
  MR_RETURN_IF_ERROR(ReadColumns(tree, features, &columns));
  const TreeNames names = {tree.path, "left_child", "right_child"};
  return writer->AddTree(group, columns.inner + columns.leaves, names,
                         NodeReader(tree, features, columns, writer));
}

}  // namespace millrace
