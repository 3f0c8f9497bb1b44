#include "kernels/compile/xgboost_tree.h"

#include <cmath>
#include <map>
#include <vector>

namespace millrace {
namespace {

constexpr int64_t kMaxNodes = INT32_MAX;
constexpr int64_t kMaxCategory = (1 << 24) - 1;  // from 2^24 on XGBoost treats categories as absent

// The columns of the tree, each as long as there are nodes.
struct Columns {
  uint32_t count = 0;
  std::vector<int64_t> left, right, feature, default_left;
  std::vector<int64_t> split_type;  // empty: all numeric
  std::vector<float> condition;     // threshold of a split, value of a leaf
  std::vector<float> leaf_vectors;  // multi-target: rows of `groups` values
  bool vectors_by_node = false;     // before 3.2 the rows are numbered by node, then by leaf
  std::map<int64_t, std::vector<uint32_t>> categories;  // bit set by node
};

// Reads a column into *out and checks its length.
template <typename T>
absl::Status Take(absl::StatusOr<std::vector<T>> column, const Place& tree, const char* key,
                  uint64_t length, std::vector<T>* out) {
  if (!column.ok()) return column.status();
  if (column->size() != length) {
    return Fault(tree.path, ".", key, ": has ", column->size(), " entries, must have ", length);
  }
  *out = *std::move(column);
  return absl::OkStatus();
}

absl::Status TakeIntegers(const Place& tree, const char* key, uint64_t length,
                          std::vector<int64_t>* out) {
  return Take(ReadIntegers(tree, key), tree, key, length, out);
}

// The bit set of one categorical node, from values [begin, begin + size) of `values`.
absl::Status ReadSet(const Place& tree, const std::vector<int64_t>& values, int64_t begin,
                     int64_t size, std::vector<uint32_t>* words) {
  for (int64_t i = begin; i < begin + size; ++i) {
    if (values[i] < 0 || values[i] > kMaxCategory) {
      return Fault(tree.path, ".categories[", i, "]: ", values[i], " is not in 0 to ",
                   kMaxCategory);
    }
    const size_t word = values[i] / 32;
    if (word >= words->size()) words->resize(word + 1);
    (*words)[word] |= 1u << (values[i] % 32);
  }
  return absl::OkStatus();
}

absl::Status ReadCategories(const Place& tree, Columns* columns) {
  MR_RETURN_IF_ERROR(TakeIntegers(tree, "split_type", columns->count, &columns->split_type));
  const absl::StatusOr<std::vector<int64_t>> nodes = ReadIntegers(tree, "categories_nodes");
  if (!nodes.ok()) return nodes.status();
  const absl::StatusOr<std::vector<int64_t>> values = ReadIntegers(tree, "categories");
  if (!values.ok()) return values.status();
  std::vector<int64_t> begins, sizes;
  MR_RETURN_IF_ERROR(TakeIntegers(tree, "categories_segments", nodes->size(), &begins));
  MR_RETURN_IF_ERROR(TakeIntegers(tree, "categories_sizes", nodes->size(), &sizes));
  const auto total = static_cast<int64_t>(values->size());
  for (size_t i = 0; i < nodes->size(); ++i) {
    if (begins[i] < 0 || begins[i] > total) {
      return Fault(tree.path, ".categories_segments[", i, "]: ", begins[i], " is out of range");
    }
    if (sizes[i] < 1 || sizes[i] > total - begins[i]) {
      return Fault(tree.path, ".categories_sizes[", i, "]: ", sizes[i], " is out of range");
    }
    auto [entry, added] = columns->categories.try_emplace((*nodes)[i]);
    if (!added) {
      return Fault(tree.path, ".categories_nodes[", i, "]: node ", (*nodes)[i], " stands twice");
    }
    MR_RETURN_IF_ERROR(ReadSet(tree, *values, begins[i], sizes[i], &entry->second));
  }
  return absl::OkStatus();
}

absl::Status ReadLeafVectors(const Place& tree, uint32_t groups, Columns* columns) {
  columns->vectors_by_node = FindMember(tree, "leaf_weights") == nullptr;
  const char* key = columns->vectors_by_node ? "base_weights" : "leaf_weights";
  absl::StatusOr<std::vector<float>> values = ReadFloats(tree, key);
  if (!values.ok()) return values.status();
  if (values->size() % groups != 0) {
    return Fault(tree.path, ".", key, ": has ", values->size(), " entries, not a multiple of ",
                 groups);
  }
  columns->leaf_vectors = *std::move(values);
  return absl::OkStatus();
}

absl::Status ReadColumns(const Place& tree, const XgboostTreeContext& context, Columns* columns) {
  const absl::StatusOr<Place> parameters = Member(tree, "tree_param");
  if (!parameters.ok()) return parameters.status();
  const absl::StatusOr<int64_t> count = ReadInteger(*parameters, "num_nodes", 1, kMaxNodes);
  if (!count.ok()) return count.status();
  columns->count = static_cast<uint32_t>(*count);
  MR_RETURN_IF_ERROR(TakeIntegers(tree, "left_children", *count, &columns->left));
  MR_RETURN_IF_ERROR(TakeIntegers(tree, "right_children", *count, &columns->right));
  MR_RETURN_IF_ERROR(TakeIntegers(tree, "split_indices", *count, &columns->feature));
  MR_RETURN_IF_ERROR(TakeIntegers(tree, "default_left", *count, &columns->default_left));
  MR_RETURN_IF_ERROR(Take(ReadFloats(tree, "split_conditions"), tree, "split_conditions", *count,
                          &columns->condition));
  if (FindMember(tree, "split_type") != nullptr) MR_RETURN_IF_ERROR(ReadCategories(tree, columns));
  if (context.vector_leaves) MR_RETURN_IF_ERROR(ReadLeafVectors(tree, context.groups, columns));
  return absl::OkStatus();
}

// Turns node numbers of one document's tree into draft nodes.
class NodeReader {
 public:
  NodeReader(const Place& tree, const XgboostTreeContext& context, const Columns& columns,
             PlanWriter* writer)
      : tree_(tree), context_(context), columns_(columns), writer_(writer) {}

  absl::StatusOr<DraftNode> operator()(uint32_t i) const {
    if (columns_.left[i] == -1) return context_.vector_leaves ? VectorLeaf(i) : Leaf(i);
    for (const auto& [key, children] :
         {std::pair("left_children", &columns_.left), {"right_children", &columns_.right}}) {
      const int64_t child = (*children)[i];
      if (child < 0 || child >= columns_.count) {
        return Fault(tree_.path, ".", key, "[", i, "]: node ", child, " is out of range");
      }
    }
    absl::StatusOr<DraftNode> node = Split(i);
    if (!node.ok()) return node;
    node->left = static_cast<uint32_t>(columns_.left[i]);
    node->right = static_cast<uint32_t>(columns_.right[i]);
    return node;
  }

 private:
  absl::StatusOr<DraftNode> Split(uint32_t i) const {
    const int64_t feature = columns_.feature[i];
    if (feature < 0 || feature >= context_.features) {
      return Fault(tree_.path, ".split_indices[", i, "]: feature ", feature,
                   " is out of range, num_feature is ", context_.features);
    }
    const bool default_left = columns_.default_left[i] != 0;
    const int64_t type = columns_.split_type.empty() ? 0 : columns_.split_type[i];
    if (type == 0) {
      if (std::isnan(columns_.condition[i])) {
        return Fault(tree_.path, ".split_conditions[", i, "]: the threshold is NaN");
      }
      return DraftNumeric(static_cast<uint32_t>(feature), columns_.condition[i], Missing::kNan,
                          default_left);
    }
    if (type != 1) {
      return Fault(tree_.path, ".split_type[", i, "]: ", type, " is not known");
    }
    const auto set = columns_.categories.find(i);
    if (set == columns_.categories.end()) {
      return Fault(tree_.path, ".categories_nodes: lacks the categorical node ", i);
    }
    return DraftCategorical(static_cast<uint32_t>(feature), writer_->AddSet(set->second),
                            Missing::kNan, default_left);
  }

  // DART multiplies in float, and starts from a positive zero, before it adds.
  double Weighted(float value) const {
    return context_.weighted ? (0.0f + value) * context_.weight : value;
  }

  absl::StatusOr<DraftNode> Leaf(uint32_t i) const {
    if (!std::isfinite(columns_.condition[i])) {
      return Fault(tree_.path, ".split_conditions[", i, "]: the leaf's value is not finite");
    }
    if (columns_.right[i] != -1) {
      return Fault(tree_.path, ".right_children[", i, "]: node ", columns_.right[i],
                   " under a leaf");
    }
    return DraftLeaf(Weighted(columns_.condition[i]));
  }

  absl::StatusOr<DraftNode> VectorLeaf(uint32_t i) const {
    const int64_t row = columns_.vectors_by_node ? i : columns_.right[i];
    const auto rows = static_cast<int64_t>(columns_.leaf_vectors.size() / context_.groups);
    if (row < 0 || row >= rows) {
      return Fault(tree_.path, columns_.vectors_by_node ? ".base_weights" : ".leaf_weights",
                   ": has no values for leaf ", i);
    }
    std::vector<double> values;
    for (uint32_t g = 0; g < context_.groups; ++g) {
      const float value = columns_.leaf_vectors[row * context_.groups + g];
      if (!std::isfinite(value)) {
        return Fault(tree_.path, columns_.vectors_by_node ? ".base_weights[" : ".leaf_weights[",
                     row * context_.groups + g, "]: the leaf's value is not finite");
      }
      values.push_back(Weighted(value));
    }
    return DraftIndexLeaf(NodeKind::kLeaf, writer_->AddVector(values));
  }

  const Place& tree_;
  const XgboostTreeContext& context_;
  const Columns& columns_;
  PlanWriter* const writer_;
};

}  // namespace

absl::StatusOr<uint32_t> XgboostLeafWidth(const Place& tree) {
  const absl::StatusOr<Place> parameters = Member(tree, "tree_param");
  if (!parameters.ok()) return parameters.status();
  const absl::StatusOr<int64_t> width = ReadInteger(*parameters, "size_leaf_vector", 0, kMaxGroups);
  if (!width.ok()) return width.status();
  return *width == 0 ? 1 : static_cast<uint32_t>(*width);
}

absl::Status AddXgboostTree(const Place& tree, const XgboostTreeContext& context,
                            PlanWriter* writer) {
  MR_RETURN_IF_ERROR(OnlyMembers(
      tree, {"base_weights", "categories", "categories_nodes", "categories_segments",
             "categories_sizes", "default_left", "id", "leaf_child_counts", "leaf_weights",
             "left_children", "loss_changes", "parents", "right_children", "split_conditions",
             "split_indices", "split_type", "sum_hessian", "tree_param"}));
  Columns columns;
  MR_RETURN_IF_ERROR(ReadColumns(tree, context, &columns));
  const TreeNames names = {tree.path, "left_children", "right_children"};
  return writer->AddTree(context.group, columns.count, names,
                         NodeReader(tree, context, columns, writer));
}

}  // namespace millrace
