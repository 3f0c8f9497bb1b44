#include "kernels/plan/tree_plan.h"

#include <string.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace millrace {
namespace {

template <typename... Parts>
absl::Status Fault(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat("plan: ", parts...));
}

// Whether [first, first + count) lies inside [0, size); in 64 bits nothing can overflow.
bool Inside(uint64_t first, uint64_t count, uint64_t size) { return first + count <= size; }

absl::Status CheckStart(absl::Span<const std::byte> image) {
  if (image.size() < sizeof(PlanHeader)) {
    return Fault("has ", image.size(), " bytes, less than its header of ", sizeof(PlanHeader));
  }
  if (reinterpret_cast<uintptr_t>(image.data()) % alignof(PlanHeader) != 0) {
    return Fault("is not mapped at a multiple of ", alignof(PlanHeader), " bytes");
  }
  const auto* header = reinterpret_cast<const PlanHeader*>(image.data());
  if (header->magic != kPlanMagic) return Fault("magic: this is not a tree plan");
  if (header->format_hash != kFormatHash) {
    return Fault("format_hash: written in another format; compile the model again");
  }
  if (header->image_bytes != image.size()) {
    return Fault("image_bytes: says ", header->image_bytes, ", there are ", image.size());
  }
  return absl::OkStatus();
}

absl::Status CheckHeader(const PlanHeader& h) {
  if (h.family != TreeFamily::kXgboost && h.family != TreeFamily::kLightgbm) {
    return Fault("family: ", static_cast<uint32_t>(h.family), " is not known");
  }
  const auto transform = static_cast<uint32_t>(h.transform);
  if (transform < 1 || transform > kTransformCount) {
    return Fault("transform: ", transform, " is not known");
  }
  if (!std::isfinite(h.transform_parameter) || h.transform_parameter <= 0) {
    return Fault("transform_parameter: must be finite and above 0");
  }
  if (h.features > kMaxFeatures) return Fault("features: more than ", kMaxFeatures);
  if (h.groups < 1 || h.groups > kMaxGroups) return Fault("groups: must be 1 to ", kMaxGroups);
  const uint32_t columns = h.transform == MarginTransform::kArgmax ? 1 : h.groups;
  if (h.prediction_columns != columns) return Fault("prediction_columns: must be ", columns);
  if (h.transform == MarginTransform::kArgmax && h.average_divisor != 0) {
    return Fault("average_divisor: not with a prediction of one column");
  }
  if (h.vector_leaves > 1) return Fault("vector_leaves: must be 0 or 1");
  if (h.reserved != 0) return Fault("reserved: must be 0");
  if (memchr(h.objective, 0, sizeof h.objective) == nullptr) {
    return Fault("objective: must end with NUL");
  }
  return absl::OkStatus();
}

absl::Status CheckSections(const PlanHeader& h) {
  uint64_t end = sizeof(PlanHeader);
  for (uint32_t i = 0; i < kSectionCount; ++i) {
    const PlanSection& s = h.sections[i];
    if (s.offset % kSectionAlignment != 0 || s.offset < end || s.offset > h.image_bytes) {
      return Fault("sections[", i, "].offset: ", s.offset, " is misaligned or out of order");
    }
    if (s.count > (h.image_bytes - s.offset) / kSectionElementBytes[i]) {
      return Fault("sections[", i, "].count: ", s.count, " elements do not fit the image");
    }
    end = s.offset + s.count * kSectionElementBytes[i];
  }
  if (h.sections[kBases].count != h.groups) return Fault("bases: must be one a group");
  for (const Section section : {kTrees, kNodes, kWideNodes, kFeatures, kEdges32, kWordRows}) {
    if (h.sections[section].count > UINT32_MAX) return Fault("sections[", section, "]: too many");
  }
  const bool xgboost = h.family == TreeFamily::kXgboost;
  if (h.sections[kNodes].count != 0 && h.sections[kWideNodes].count != 0) {
    return Fault("nodes: both narrow and wide");
  }
  if (h.sections[xgboost ? kLeaves64 : kLeaves32].count != 0) {
    return Fault("leaves: of the other family's type");
  }
  if (h.sections[kEdges64].count != (xgboost ? 0 : h.sections[kEdges32].count)) {
    return Fault("edges: must be one for each type of row");
  }
  if (h.sections[kColumns].count > kMaxColumns) return Fault("columns: more than ", kMaxColumns);
  const uint64_t names = h.sections[kNameEnds].count;
  if (names != 0 && names != h.features) return Fault("name_ends: must be none or one a feature");
  return absl::OkStatus();
}

absl::Status CheckTerms(const PlanView& plan) {
  for (size_t i = 0; i < plan.linears().size(); ++i) {
    if (!Inside(plan.linears()[i].first_term, plan.linears()[i].term_count, plan.terms().size())) {
      return Fault("linears[", i, "]: leads out of the terms");
    }
  }
  for (size_t i = 0; i < plan.terms().size(); ++i) {
    const PlanTerm& term = plan.terms()[i];
    if (term.feature >= plan.features() || term.reserved != 0) {
      return Fault("terms[", i, "]: feature ", term.feature, " of ", plan.features());
    }
  }
  return absl::OkStatus();
}

// The edges of one feature rise; the two tables agree on how many there are.
template <typename Real>
bool Rise(std::span<const Real> edges) {
  for (size_t i = 0; i < edges.size(); ++i) {
    if (std::isnan(edges[i]) || (i > 0 && edges[i] < edges[i - 1])) return false;
  }
  return true;
}

absl::Status CheckColumns(const PlanView& plan, uint32_t entry) {
  const PlanFeature& f = plan.used_features()[entry];
  for (uint32_t i = 0; i < f.numeric_columns + f.set_columns; ++i) {
    const PlanColumn& column = plan.columns()[f.first_column + i];
    const bool numeric = i < f.numeric_columns;
    const auto fault = [&](const char* field) {
      return Fault("columns[", f.first_column + i, "].", field, ": does not fit its feature");
    };
    if (column.entry != entry) return fault("entry");
    if (column.kind != (numeric ? ColumnKind::kNumeric : ColumnKind::kSet)) return fault("kind");
    if (static_cast<uint8_t>(column.missing) > 2 || column.default_left > 1 ||
        column.reserved != 0) {
      return fault("missing");
    }
    const bool inside =
        numeric ? column.first >= f.first_edge && column.first - f.first_edge < f.edge_count
                : column.first == i - f.numeric_columns;
    if (!inside) return fault("first");
  }
  return absl::OkStatus();
}

absl::Status CheckFeature(const PlanView& plan, uint32_t entry, const PlanFeature& end) {
  const PlanFeature& f = plan.used_features()[entry];
  const auto fault = [&](const char* field) {
    return Fault("features[", entry, "].", field, ": out of order or range");
  };
  if (f.feature >= plan.features()) return fault("feature");
  if (entry > 0 && f.feature <= plan.used_features()[entry - 1].feature) return fault("feature");
  if (f.first_edge != end.first_edge ||
      !Inside(f.first_edge, f.edge_count, plan.edges32().size())) {
    return fault("first_edge");
  }
  if (f.first_column != end.first_column ||
      !Inside(f.first_column, uint64_t{f.numeric_columns} + f.set_columns, plan.columns().size())) {
    return fault("first_column");
  }
  if (f.first_row != end.first_row || !Inside(f.first_row, f.row_count, plan.word_rows().size())) {
    return fault("first_row");
  }
  if (!Rise(plan.edges32().subspan(f.first_edge, f.edge_count)) ||
      (plan.family() == TreeFamily::kLightgbm &&
       !Rise(plan.edges64().subspan(f.first_edge, f.edge_count)))) {
    return Fault("features[", entry, "]: its edges do not rise, or one is NaN");
  }
  uint32_t most = f.set_columns;
  for (const PlanWordRow& row : plan.word_rows().subspan(f.first_row, f.row_count)) {
    if (row.count > most || !Inside(row.first_word, row.count, plan.words().size())) {
      return Fault("features[", entry, "].first_row: a row leads out of the words or grows");
    }
    most = row.count;
  }
  return CheckColumns(plan, entry);
}

absl::Status CheckFeatures(const PlanView& plan) {
  PlanFeature end = {};
  for (uint32_t i = 0; i < plan.used_features().size(); ++i) {
    if (absl::Status status = CheckFeature(plan, i, end); !status.ok()) return status;
    const PlanFeature& f = plan.used_features()[i];
    end.first_edge += f.edge_count;
    end.first_column += f.numeric_columns + f.set_columns;
    end.first_row += f.row_count;
  }
  if (end.first_edge != plan.edges32().size() || end.first_column != plan.columns().size()) {
    return Fault("features: they do not cover the edges and columns");
  }
  return absl::OkStatus();
}

template <typename Node>
absl::Status CheckNodes(const PlanView& plan, uint32_t t) {
  const PlanTree& tree = plan.trees()[t];
  const auto nodes = NodesOf<Node>(plan).subspan(tree.first_node, tree.node_count);
  // Breadth first: each child is the next one. The single leaf of a tree without nodes is nobody's.
  int64_t next_inner = 1, next_leaf = tree.node_count == 0 ? 1 : 0;
  for (uint32_t n = 0; n < nodes.size(); ++n) {
    const Node& node = nodes[n];
    const auto fault = [&](const char* field, const char* what) {
      return Fault("trees[", t, "].nodes[", n, "].", field, what);
    };
    if (NodeColumn(node) >= plan.columns().size()) return fault("test", ": no such column");
    const PlanColumn& column = plan.columns()[NodeColumn(node)];
    const PlanFeature& feature = plan.used_features()[column.entry];
    const bool inside =
        column.kind == ColumnKind::kSet
            ? NodeEdge(node) == 0
            : NodeEdge(node) < kEdgesInColumn &&
                  column.first - feature.first_edge + NodeEdge(node) < feature.edge_count;
    if (!inside) return fault("test", ": no such edge");
    for (const int32_t child : {int32_t{node.left}, int32_t{node.right}}) {
      if (child != (child < 0 ? ~next_leaf++ : next_inner++)) {
        return fault(child == node.left ? "left" : "right", ": is not the next node in the tree");
      }
    }
  }
  if (next_inner != std::max<int64_t>(tree.node_count, 1) || next_leaf != tree.leaf_count) {
    return Fault("trees[", t, "]: its children are not its nodes and leaves");
  }
  return absl::OkStatus();
}

absl::Status CheckTree(const PlanView& plan, uint32_t t, const PlanTree& end) {
  const PlanTree& tree = plan.trees()[t];
  const auto fault = [&](const char* field) {
    return Fault("trees[", t, "].", field, ": out of order or range");
  };
  if (tree.first_node != end.first_node ||
      !Inside(tree.first_node, tree.node_count, plan.node_count())) {
    return fault("first_node");
  }
  if (tree.leaf_count == 0 || tree.first_leaf != end.first_leaf ||
      !Inside(tree.first_leaf, tree.leaf_count, plan.leaf_count())) {
    return fault("first_leaf");
  }
  if (tree.group >= plan.groups() || (plan.vector_leaves() && tree.group != 0)) {
    return fault("group");
  }
  if (tree.first_linear != kNoLinear &&
      (plan.family() != TreeFamily::kLightgbm || plan.vector_leaves() ||
       !Inside(tree.first_linear, tree.leaf_count, plan.linears().size()))) {
    return fault("first_linear");
  }
  if (tree.reserved[0] != 0 || tree.reserved[1] != 0) return fault("reserved");
  return plan.wide() ? CheckNodes<PlanWideNode>(plan, t) : CheckNodes<PlanNode>(plan, t);
}

// Trees partition nodes and leaves, so that this check is linear in the image.
absl::Status CheckTrees(const PlanView& plan) {
  PlanTree end = {};
  for (uint32_t t = 0; t < plan.trees().size(); ++t) {
    if (absl::Status status = CheckTree(plan, t, end); !status.ok()) return status;
    end.first_node += plan.trees()[t].node_count;
    end.first_leaf += plan.trees()[t].leaf_count;
  }
  return absl::OkStatus();
}

absl::Status CheckNames(const PlanView& plan) {
  uint32_t start = 0;
  const std::span<const uint32_t> ends = plan.Get<uint32_t>(kNameEnds);
  for (size_t i = 0; i < ends.size(); ++i) {
    if (ends[i] < start || ends[i] > plan.Get<char>(kNameBytes).size()) {
      return Fault("name_ends[", i, "]: out of order or out of the name bytes");
    }
    start = ends[i];
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TreePlan> TreePlan::Open(absl::Span<const std::byte> image) {
  if (absl::Status status = CheckStart(image); !status.ok()) return status;
  const TreePlan plan(image.data());
  if (absl::Status status = CheckHeader(plan.header()); !status.ok()) return status;
  if (absl::Status status = CheckSections(plan.header()); !status.ok()) return status;
  for (const auto check : {CheckTerms, CheckFeatures, CheckTrees, CheckNames}) {
    if (absl::Status status = check(plan); !status.ok()) return status;
  }
  return plan;
}

}  // namespace millrace
