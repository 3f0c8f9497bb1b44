#include "kernels/cpu/prepare.h"

#include <string.h>

#include <algorithm>
#include <limits>
#include <span>

namespace millrace::cpu {
namespace {

constexpr uint32_t kMaxMaskColumns = 256;
constexpr uint32_t kMaxPlaneLeaves = 64;

// Appends `edges` in sixteens, filled up with NaN.
template <typename Block, typename Real>
void AppendSixteens(const std::vector<Real>& edges, std::vector<Block>* out) {
  for (size_t i = 0; i < edges.size(); i += kEdgeBlock) {
    Block& block = out->emplace_back();
    for (uint32_t k = 0; k < kEdgeBlock; ++k) {
      block.edges[k] = i + k < edges.size() ? edges[i + k] : std::numeric_limits<Real>::quiet_NaN();
    }
  }
}

// Pivots first, then the edges.
template <typename Block, typename Real>
void AppendFeature(std::span<const Real> edges, std::vector<Block>* out) {
  std::vector<Real> pivots;
  for (size_t i = kEdgeBlock - 1; i < edges.size(); i += kEdgeBlock) pivots.push_back(edges[i]);
  AppendSixteens(pivots, out);
  AppendSixteens(std::vector<Real>(edges.begin(), edges.end()), out);
}

uint32_t Depth(const PlanNode* nodes, uint32_t count) {
  std::vector<uint32_t> depth(count, 1);
  uint32_t most = 0;
  for (uint32_t i = 0; i < count; ++i) {
    most = std::max(most, depth[i]);
    for (const int16_t child : {nodes[i].left, nodes[i].right}) {
      if (child >= 0) depth[child] = depth[i] + 1;
    }
  }
  return most;
}

// Fills what lies below `slot`, at which the plan's tree is at `child`.
void FillMask(const PlanNode* nodes, int32_t child, uint32_t slot, MaskTree* out) {
  constexpr uint32_t kInner = (1u << MaskTree::kDepth) - 1;
  if (slot >= kInner) {
    out->leaf[slot - kInner] = static_cast<uint8_t>(~child);
    return;
  }
  const bool leaf = child < 0;
  out->column[slot] = leaf ? 0 : static_cast<uint8_t>(NodeColumn(nodes[child]));
  out->edge[slot] = leaf ? kRight : static_cast<uint8_t>(NodeEdge(nodes[child]));
  FillMask(nodes, leaf ? child : nodes[child].left, 2 * slot + 1, out);
  FillMask(nodes, leaf ? child : nodes[child].right, 2 * slot + 2, out);
}

struct KillFiller {
  const PlanNode* nodes;
  MaskTree* out;
  uint64_t* kills;  // of node i: kills[8 * i]
  uint32_t slots = 0;

  // Numbers the leaves below `child` from left to right; which slots they got.
  uint64_t Fill(int32_t child) {
    if (child < 0) {
      out->leaf[slots] = static_cast<uint8_t>(~child);
      return uint64_t{1} << slots++;
    }
    const PlanNode& node = nodes[child];
    out->column[child] = static_cast<uint8_t>(NodeColumn(node));
    out->edge[child] = static_cast<uint8_t>(NodeEdge(node));
    const uint64_t left = Fill(node.left);
    kills[8 * child] = left;
    return left | Fill(node.right);
  }
};

}  // namespace

void PreparedForest::PrepareFeatures(const PlanView& plan) {
  for (const PlanFeature& f : plan.used_features()) {
    const uint32_t pivots = f.edge_count / kEdgeBlock;
    const uint32_t pivot_blocks = (pivots + kEdgeBlock - 1) / kEdgeBlock;
    const auto start = static_cast<uint32_t>(edges32_.size() * kEdgeBlock);
    used_.push_back({.feature = f.feature,
                     .edge_count = f.edge_count,
                     .pivots = start,
                     .pivot_blocks = pivot_blocks,
                     .edges = start + pivot_blocks * kEdgeBlock,
                     .first_column = f.first_column,
                     .numeric_columns = f.numeric_columns,
                     .set_columns = f.set_columns,
                     .first_edge = f.first_edge,
                     .first_row = f.first_row,
                     .row_count = f.row_count});
    AppendFeature(plan.edges32().subspan(f.first_edge, f.edge_count), &edges32_);
    if (!plan.edges64().empty()) {
      AppendFeature(plan.edges64().subspan(f.first_edge, f.edge_count), &edges64_);
    }
    // A full last block is passed wholly by a value beyond all edges: what is searched next is
    // empty, and must be there.
    if (f.edge_count % kEdgeBlock == 0) {
      AppendSixteens(std::vector<float>(1, std::numeric_limits<float>::quiet_NaN()), &edges32_);
      if (!plan.edges64().empty()) {
        AppendSixteens(std::vector<double>(1, std::numeric_limits<double>::quiet_NaN()), &edges64_);
      }
    }
  }
}

void PreparedForest::PrepareCompleteTrees(const PlanView& plan) {
  for (const PlanTree& tree : plan.trees()) {
    const PlanNode* nodes = plan.nodes().data() + tree.first_node;
    FillMask(nodes, tree.node_count == 0 ? ~0 : 0, 0, &masks_.emplace_back());
  }
}

void PreparedForest::PrepareKills(const PlanView& plan) {
  const size_t eights = (plan.trees().size() + 7) / 8;
  kills_.resize(eights * MaskTree::kNodes);
  kill_nodes_.resize(eights);
  auto* kills = reinterpret_cast<uint64_t*>(kills_.data());
  for (size_t t = 0; t < plan.trees().size(); ++t) {
    const PlanTree& tree = plan.trees()[t];
    MaskTree& mask = masks_.emplace_back();
    memset(mask.edge, kRight, sizeof mask.edge);
    KillFiller filler{plan.nodes().data() + tree.first_node, &mask,
                      kills + t / 8 * MaskTree::kNodes * 8 + t % 8};
    filler.Fill(tree.node_count == 0 ? ~0 : 0);
    kill_nodes_[t / 8] = std::max(kill_nodes_[t / 8], static_cast<uint8_t>(tree.node_count));
  }
  tables_.kills = kills;
  tables_.kill_nodes = kill_nodes_.data();
}

void PreparedForest::PrepareMasks(const PlanView& plan) {
  if (plan.wide() || plan.columns().size() > kMaxMaskColumns) return;
  uint32_t depth = 0, leaves = 0;
  for (const PlanTree& tree : plan.trees()) {
    depth = std::max(depth, Depth(plan.nodes().data() + tree.first_node, tree.node_count));
    leaves = std::max(leaves, tree.leaf_count);
  }
  if (depth <= MaskTree::kDepth) {
    PrepareCompleteTrees(plan);
  } else if (leaves <= MaskTree::kNodes) {
    PrepareKills(plan);
  } else {
    return;
  }
  masks_.resize((masks_.size() + 7) / 8 * 8);  // a group of eight is read as a whole
  tables_.masks = masks_.data();
}

void PreparedForest::PrepareColumnGroups(const PlanView& plan) {
  if (plan.columns().size() > kMaxMaskColumns || used_.size() > kMaxMaskColumns) return;
  for (const FeatureTable& f : used_) {
    if (f.edge_count > kEdgesInColumn || f.set_columns != 0) return;
  }
  for (size_t c = 0; c < plan.columns().size(); ++c) {
    if (c % 64 == 0) groups_.emplace_back();
    ColumnGroup& group = groups_.back();
    const PlanColumn& column = plan.columns()[c];
    const uint64_t bit = uint64_t{1} << c % 64;
    group.entry[c % 64] = static_cast<uint8_t>(column.entry);
    if (column.missing == Missing::kNan) group.looks_for_nan |= bit;
    if (column.missing == Missing::kZero) group.looks_for_zero |= bit;
    if (!column.default_left) group.sends_right |= bit;
  }
  tables_.column_groups = groups_.data();
}

template <typename Real>
void PreparedForest::PrepareLeaves(const PlanView& plan) {
  if (!tables_.plain_leaves) return;
  const std::span<const Real> leaves = LeavesOf<Real>(plan);
  for (size_t t = 0; t < masks_.size() && t < plan.trees().size(); ++t) {
    slot_leaves_.resize(slot_leaves_.size() + sizeof(Real));
    auto* values = reinterpret_cast<Real*>(&slot_leaves_[slot_leaves_.size() - sizeof(Real)]);
    for (uint32_t slot = 0; slot < 64; ++slot) {
      values[slot] = leaves[plan.trees()[t].first_leaf + masks_[t].leaf[slot]];
    }
  }
  tables_.slot_leaves = slot_leaves_.data();
  const auto few = [](const PlanTree& tree) { return tree.leaf_count <= kMaxPlaneLeaves; };
  if (!std::all_of(plan.trees().begin(), plan.trees().end(), few)) return;
  for (const PlanTree& tree : plan.trees()) {
    const size_t first = leaf_planes_.size();
    leaf_planes_.resize(first + sizeof(Real));
    for (uint32_t i = 0; i < tree.leaf_count; ++i) {
      uint8_t bytes[sizeof(Real)];
      memcpy(bytes, &leaves[tree.first_leaf + i], sizeof bytes);
      for (size_t b = 0; b < sizeof bytes; ++b) leaf_planes_[first + b].bytes[i] = bytes[b];
    }
  }
  tables_.leaf_planes = leaf_planes_.empty() ? nullptr : leaf_planes_[0].bytes;
}

// By counting instructions: a blended node costs 16 whatever the rows, a step of a walk 24 (it
// waits for memory and for the slowest of eight), a tree by masks 25, and a tree's leaves 4 a row.
// Close calls cost little either way.
void PreparedForest::ChooseEngines(const PlanView& plan) {
  uint64_t blend = 1, walk = 1;
  for (const PlanTree& tree : plan.trees()) {
    const PlanNode* nodes = plan.nodes().data() + tree.first_node;
    blend += 16 * tree.node_count + 4 * 16;
    walk += 24 * (plan.wide() ? 16 : Depth(nodes, tree.node_count)) + 8;
  }
  uint64_t masks = 1 + 25 * plan.trees().size();
  for (const uint8_t nodes : kill_nodes_) masks += 3 * nodes;
  const auto ratio = [&](uint64_t row) {
    return static_cast<uint32_t>(std::clamp<uint64_t>((blend + row - 1) / row, 2, 17));
  };
  tables_.blend_from_rows_walking = ratio(walk);
  tables_.blend_from_rows_masking = ratio(masks);
}

size_t PreparedForest::bytes() const {
  const auto of = [](const auto& vector) { return vector.capacity() * sizeof(vector[0]); };
  return sizeof *this + of(used_) + of(edges32_) + of(edges64_) + of(groups_) + of(masks_) +
         of(kills_) + of(kill_nodes_) + of(slot_leaves_) + of(leaf_planes_);
}

PreparedForest::PreparedForest(const PlanView& plan) {
  PrepareFeatures(plan);
  PrepareColumnGroups(plan);
  PrepareMasks(plan);
  tables_.family = plan.family();
  tables_.features = plan.features();
  tables_.groups = plan.groups();
  tables_.vector_leaves = plan.vector_leaves();
  tables_.bases = plan.bases().data();
  tables_.trees = plan.trees().data();
  tables_.tree_count = static_cast<uint32_t>(plan.trees().size());
  tables_.nodes = plan.wide() ? nullptr : plan.nodes().data();
  tables_.wide_nodes = plan.wide() ? plan.wide_nodes().data() : nullptr;
  tables_.leaves32 = plan.leaves32().data();
  tables_.leaves64 = plan.leaves64().data();
  tables_.used = used_.data();
  tables_.used_count = static_cast<uint32_t>(used_.size());
  tables_.columns = plan.columns().data();
  tables_.column_count = static_cast<uint32_t>(plan.columns().size());
  tables_.edges32 = edges32_.empty() ? nullptr : edges32_[0].edges;
  tables_.edges64 = edges64_.empty() ? nullptr : edges64_[0].edges;
  tables_.word_rows = plan.word_rows().data();
  tables_.words = plan.words().data();
  tables_.linears = plan.linears().data();
  tables_.terms = plan.terms().data();
  tables_.plain_leaves = !plan.vector_leaves() && plan.linears().empty();
  if (plan.family() == TreeFamily::kXgboost) {
    PrepareLeaves<float>(plan);
  } else {
    PrepareLeaves<double>(plan);
  }
  ChooseEngines(plan);
}

}  // namespace millrace::cpu
