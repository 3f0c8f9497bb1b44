#include "kernels/plan/image_builder.h"

#include <string.h>

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "kernels/plan/column_builder.h"

namespace millrace {
namespace {

constexpr uint64_t kMaxCount = ~uint32_t{0};
constexpr uint32_t kMaxNarrow = 1u << 15;  // inner nodes or leaves that an int16_t can number

// Appends a section to the image and notes where it lies.
template <typename T>
void Append(Section section, const T* data, uint64_t count, std::vector<std::byte>* image) {
  static_assert(std::is_trivially_copyable_v<T>);
  MR_CHECK(sizeof(T) == kSectionElementBytes[section], "a section has elements of one size");
  const uint64_t aligned = (image->size() + kSectionAlignment - 1) & -kSectionAlignment;
  image->resize(aligned + count * sizeof(T));
  if (count != 0) memcpy(image->data() + aligned, data, count * sizeof(T));
  auto* header = reinterpret_cast<PlanHeader*>(image->data());
  header->sections[section] = {.offset = aligned, .count = count};
}

template <typename T>
void Append(Section section, const std::vector<T>& data, std::vector<std::byte>* image) {
  Append(section, data.data(), data.size(), image);
}

void AppendNames(const std::vector<std::string>& names, std::vector<std::byte>* image) {
  std::vector<uint32_t> ends;
  std::string bytes;
  for (const std::string& name : names) {
    bytes += name;
    ends.push_back(static_cast<uint32_t>(bytes.size()));
  }
  Append(kNameEnds, ends, image);
  Append(kNameBytes, bytes.data(), bytes.size(), image);
}

PlanHeader MakeHeader(const PlanTraits& traits) {
  PlanHeader header = {};
  header.magic = kPlanMagic;
  header.format_hash = kFormatHash;
  header.family = traits.family;
  header.transform = traits.transform;
  header.transform_parameter = traits.transform_parameter;
  header.average_divisor = traits.average_divisor;
  header.features = traits.features;
  header.groups = static_cast<uint32_t>(traits.bases.size());
  header.prediction_columns = traits.transform == Transform::kArgmax ? 1 : header.groups;
  header.vector_leaves = traits.vector_leaves ? 1 : 0;
  traits.objective.copy(header.objective, sizeof header.objective - 1);
  return header;
}

}  // namespace

// Nodes in the wide form; `test` holds the column's key until all columns are known.
struct ImageBuilder::Layout {
  struct Node {
    ColumnBuilder::Test test;
    int32_t left, right;
  };
  std::vector<PlanTree> trees;
  std::vector<Node> nodes;
  std::vector<float> leaves32;
  std::vector<double> leaves64;
  std::vector<PlanLinear> linears;
  bool wide = false;
};

uint32_t ImageBuilder::AddSet(std::span<const uint32_t> words) {
  sets_.emplace_back(words.begin(), words.end());
  return static_cast<uint32_t>(sets_.size() - 1);
}

uint64_t ImageBuilder::AddVector(std::span<const double> values) {
  vectors_.insert(vectors_.end(), values.begin(), values.end());
  return vectors_.size() - values.size();
}

uint32_t ImageBuilder::AddLinear(double constant, double fallback,
                                 std::span<const PlanTerm> terms) {
  linears_.push_back({.constant = constant,
                      .fallback = fallback,
                      .first_term = static_cast<uint32_t>(terms_.size()),
                      .term_count = static_cast<uint32_t>(terms.size())});
  terms_.insert(terms_.end(), terms.begin(), terms.end());
  return static_cast<uint32_t>(linears_.size() - 1);
}

void ImageBuilder::AddTree(uint32_t group, std::vector<DraftNode> nodes) {
  MR_CHECK(!nodes.empty(), "a tree has a root");
  node_count_ += nodes.size();
  trees_.push_back({.group = group, .nodes = std::move(nodes)});
}

void ImageBuilder::CollectEdges(ColumnBuilder* columns) const {
  for (const Tree& tree : trees_) {
    for (const DraftNode& node : tree.nodes) {
      if (node.kind == NodeKind::kNumeric) columns->AddNumeric(node.feature, node.value);
      if (node.kind == NodeKind::kCategorical) {
        columns->AddSet(node.feature, sets_[node.index], node.default_left);
      }
    }
  }
  columns->CloseEdges();
}

void ImageBuilder::LayOutLeaf(const DraftNode& leaf, const PlanTraits& traits, bool linear,
                              Layout* out) const {
  const auto append = [&](double value) {
    if (traits.family == TreeFamily::kXgboost) {
      out->leaves32.push_back(static_cast<float>(value));
    } else {
      out->leaves64.push_back(value);
    }
  };
  if (traits.vector_leaves) {
    for (size_t g = 0; g < traits.bases.size(); ++g) append(vectors_[leaf.index + g]);
    return;
  }
  append(leaf.kind == NodeKind::kLinearLeaf ? 0 : leaf.value);
  if (!linear) return;
  if (leaf.kind == NodeKind::kLinearLeaf) {
    out->linears.push_back(linears_[leaf.index]);
  } else {
    out->linears.push_back(
        {.constant = leaf.value, .fallback = leaf.value, .first_term = 0, .term_count = 0});
  }
}

void ImageBuilder::LayOutTree(const Tree& tree, const PlanTraits& traits, ColumnBuilder* columns,
                              Layout* out) const {
  const auto is_linear = [](const DraftNode& n) { return n.kind == NodeKind::kLinearLeaf; };
  const bool linear = std::any_of(tree.nodes.begin(), tree.nodes.end(), is_linear);
  PlanTree entry = {};
  entry.first_node = static_cast<uint32_t>(out->nodes.size());
  const size_t leaf_values = out->leaves32.size() + out->leaves64.size();
  entry.first_leaf =
      static_cast<uint32_t>(leaf_values / (traits.vector_leaves ? traits.bases.size() : 1));
  entry.group = tree.group;
  entry.first_linear = linear ? static_cast<uint32_t>(out->linears.size()) : kNoLinear;
  std::vector<uint32_t> number(tree.nodes.size());  // among inner nodes, or among leaves
  for (size_t i = 0; i < tree.nodes.size(); ++i) {
    number[i] = tree.nodes[i].inner() ? entry.node_count++ : entry.leaf_count++;
  }
  const auto child = [&](uint32_t i) {
    const auto n = static_cast<int32_t>(number[i]);
    return tree.nodes[i].inner() ? n : ~n;
  };
  for (const DraftNode& node : tree.nodes) {
    if (!node.inner()) {
      LayOutLeaf(node, traits, linear, out);
      continue;
    }
    const ColumnBuilder::Test test =
        node.kind == NodeKind::kNumeric
            ? columns->NumericTest(node.feature, node.value, node.missing, node.default_left)
            : columns->SetTest(node.feature, sets_[node.index], node.default_left);
    out->nodes.push_back({.test = test, .left = child(node.left), .right = child(node.right)});
  }
  out->wide |= std::max(entry.node_count, entry.leaf_count) > kMaxNarrow;
  out->trees.push_back(entry);
}

std::vector<std::byte> ImageBuilder::Assemble(const PlanTraits& traits,
                                              const ColumnBuilder& columns,
                                              const Layout& layout) const {
  std::vector<PlanNode> nodes;
  std::vector<PlanWideNode> wide_nodes;
  for (const Layout::Node& node : layout.nodes) {
    const uint32_t test = columns.Resolve(node.test.column_key) << 8 | node.test.edge;
    if (layout.wide) {
      wide_nodes.push_back({.test = test, .left = node.left, .right = node.right});
    } else {
      nodes.push_back({.test = test,
                       .left = static_cast<int16_t>(node.left),
                       .right = static_cast<int16_t>(node.right)});
    }
  }
  const PlanHeader start = MakeHeader(traits);
  std::vector<std::byte> image(sizeof start);
  memcpy(image.data(), &start, sizeof start);
  Append(kBases, traits.bases, &image);
  Append(kTrees, layout.trees, &image);
  Append(kNodes, nodes, &image);
  Append(kWideNodes, wide_nodes, &image);
  Append(kLeaves32, layout.leaves32, &image);
  Append(kLeaves64, layout.leaves64, &image);
  Append(kFeatures, columns.features, &image);
  Append(kColumns, columns.columns, &image);
  Append(kEdges32, columns.edges32, &image);
  Append(kEdges64, columns.edges64, &image);
  Append(kWordRows, columns.word_rows, &image);
  Append(kWords, columns.words, &image);
  Append(kLinears, layout.linears, &image);
  Append(kTerms, terms_, &image);
  AppendNames(traits.feature_names, &image);
  image.resize((image.size() + kSectionAlignment - 1) & -kSectionAlignment);
  reinterpret_cast<PlanHeader*>(image.data())->image_bytes = image.size();
  return image;
}

std::vector<std::byte> ImageBuilder::Finish(const PlanTraits& traits, std::string* fault) const {
  if (traits.bases.empty() || traits.bases.size() > kMaxGroups) {
    *fault = "a model may have 1 to " + std::to_string(kMaxGroups) + " groups, not " +
             std::to_string(traits.bases.size());
    return {};
  }
  ColumnBuilder columns(traits.family);
  Layout layout;
  CollectEdges(&columns);
  for (const Tree& tree : trees_) LayOutTree(tree, traits, &columns, &layout);
  if (!columns.Finish()) {
    *fault = "the splits need more than 2^24 columns of bytes";
    return {};
  }
  if (std::max({columns.words.size(), columns.edges32.size(), layout.linears.size(), terms_.size(),
                layout.leaves32.size() + layout.leaves64.size()}) > kMaxCount) {
    *fault = "the leaves, category sets or linear leaves exceed 2^32 elements";
    return {};
  }
  return Assemble(traits, columns, layout);
}

}  // namespace millrace
