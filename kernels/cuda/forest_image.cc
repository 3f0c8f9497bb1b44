#include "kernels/cuda/forest_image.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <stdexcept>

namespace millrace::cuda {
namespace {

// By group, and in the plan's order inside a group.
std::vector<uint32_t> Order(std::span<const PlanTree> trees) {
  std::vector<uint32_t> order(trees.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return trees[a].group < trees[b].group; });
  return order;
}

NodeWords ForDevice(const PlanNode& node) { return std::bit_cast<NodeWords>(node); }
PlanWideNode ForDevice(const PlanWideNode& node) { return node; }

// Nodes in the order of the trees, each tree at an even place.
template <typename DeviceNode, typename Node>
std::vector<DeviceNode> Arrange(const PlanView& plan, std::span<const uint32_t> order,
                                std::vector<DeviceTree>* out) {
  std::vector<DeviceNode> nodes;
  nodes.reserve(NodesOf<Node>(plan).size() + order.size());
  for (const uint32_t index : order) {
    const PlanTree& tree = plan.trees()[index];
    if (nodes.size() + tree.node_count >= UINT32_MAX) throw std::length_error("too many nodes");
    out->push_back(
        {static_cast<uint32_t>(nodes.size()), tree.node_count, tree.first_leaf, tree.first_linear});
    for (const Node& node : NodesOf<Node>(plan).subspan(tree.first_node, tree.node_count)) {
      nodes.push_back(ForDevice(node));
    }
    if (nodes.size() % 2 != 0) nodes.push_back(DeviceNode{});
  }
  return nodes;
}

}  // namespace

ForestImage::ForestImage(const PlanView& plan) : input_features_(plan.features()) {
  const bool xgboost = plan.family() == TreeFamily::kXgboost;
  facts_ = {.features = static_cast<uint32_t>(plan.used_features().size()),
            .columns = static_cast<uint32_t>(plan.columns().size()),
            .groups = plan.groups(),
            .trees = static_cast<uint32_t>(plan.trees().size()),
            .margin_bytes = static_cast<uint32_t>(xgboost ? sizeof(float) : sizeof(double)),
            .wide = plan.wide(),
            .vector_leaves = plan.vector_leaves()};
  linear_ = !plan.linears().empty();
  features_at_ = Append(plan.used_features());
  columns_at_ = Append(plan.columns());
  edges_at_ = Append(plan.edges32());
  word_rows_at_ = Append(plan.word_rows());
  words_at_ = Append(plan.words());
  AppendTrees(plan);
  facts_.nodes =
      trees_.empty() ? 0 : trees_.back().first_node + (trees_.back().node_count + 1) / 2 * 2;
  leaves_at_ = xgboost ? Append(plan.leaves32()) : Append(plan.leaves64());
  linears_at_ = Append(plan.linears());
  terms_at_ = Append(plan.terms());
  bases_at_ = xgboost ? AppendBases<float>(plan) : AppendBases<double>(plan);
}

template <typename T>
size_t ForestImage::Append(std::span<const T> part) {
  const size_t at = (bytes_.size() + kPartAlignment - 1) / kPartAlignment * kPartAlignment;
  bytes_.resize(at + part.size_bytes());
  if (!part.empty()) std::memcpy(bytes_.data() + at, part.data(), part.size_bytes());
  return at;
}

template <typename Real>
size_t ForestImage::AppendBases(const PlanView& plan) {
  std::vector<Real> bases;
  for (const double base : plan.bases()) bases.push_back(static_cast<Real>(base));
  return Append<Real>(bases);
}

void ForestImage::AppendTrees(const PlanView& plan) {
  const std::vector<uint32_t> order = Order(plan.trees());
  trees_.reserve(order.size());
  for (const uint32_t index : order) groups_.push_back(plan.trees()[index].group);
  if (plan.wide()) {
    nodes_at_ = Append<PlanWideNode>(Arrange<PlanWideNode, PlanWideNode>(plan, order, &trees_));
  } else {
    nodes_at_ = Append<NodeWords>(Arrange<NodeWords, PlanNode>(plan, order, &trees_));
  }
  trees_at_ = Append<DeviceTree>(trees_);
}

ForestImage::Lists ForestImage::AddLists(const TileShape& shape) {
  const uint32_t slots = shape.threads >> shape.row_bits;
  for (const Known& known : known_) {
    if (known.chunk_trees == shape.chunk_trees && known.staged_nodes == shape.staged_nodes &&
        known.slots == slots) {
      return known.lists;
    }
  }
  const ChunkLists lists = MakeChunks(trees_, groups_, facts_.vector_leaves, shape);
  Lists at = {};
  at.chunks_at = Append<DeviceChunk>(lists.chunks);
  at.segments_at = Append<DeviceSegment>(lists.segments);
  at.chunk_count = static_cast<uint32_t>(lists.chunks.size());
  known_.push_back({shape.chunk_trees, shape.staged_nodes, slots, at});
  return at;
}

ForestView ForestImage::ViewAt(const std::byte* device) const {
  const auto part = [&]<typename T>(const T*& pointer, size_t at) {
    pointer = reinterpret_cast<const T*>(device + at);
  };
  ForestView view = {};
  part(view.features, features_at_);
  part(view.columns, columns_at_);
  part(view.edges, edges_at_);
  part(view.word_rows, word_rows_at_);
  part(view.words, words_at_);
  part(view.trees, trees_at_);
  part(view.linears, linears_at_);
  part(view.terms, terms_at_);
  view.nodes = device + nodes_at_;
  view.leaves = device + leaves_at_;
  view.bases = device + bases_at_;
  view.feature_count = facts_.features;
  view.input_features = input_features_;
  view.groups = facts_.groups;
  view.vector_leaves = facts_.vector_leaves ? 1 : 0;
  return view;
}

void ForestImage::SetLists(const std::byte* device, const Lists& lists, TileShape* shape) {
  shape->chunks = reinterpret_cast<const DeviceChunk*>(device + lists.chunks_at);
  shape->segments = reinterpret_cast<const DeviceSegment*>(device + lists.segments_at);
  shape->chunk_count = lists.chunk_count;
}

}  // namespace millrace::cuda
