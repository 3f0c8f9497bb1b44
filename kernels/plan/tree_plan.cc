#include "kernels/plan/tree_plan.h"

#include <string.h>

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
  const uint32_t columns = h.transform == Transform::kArgmax ? 1 : h.groups;
  if (h.prediction_columns != columns) return Fault("prediction_columns: must be ", columns);
  if (h.transform == Transform::kArgmax && h.average_divisor != 0) {
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
  if (h.sections[kTrees].count > UINT32_MAX) return Fault("trees: too many");
  const uint64_t names = h.sections[kNameEnds].count;
  if (names != 0 && names != h.features) return Fault("name_ends: must be none or one a feature");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TreePlan> TreePlan::Open(absl::Span<const std::byte> image) {
  if (absl::Status status = CheckStart(image); !status.ok()) return status;
  TreePlan plan(reinterpret_cast<const PlanHeader*>(image.data()));
  if (absl::Status status = CheckHeader(*plan.header_); !status.ok()) return status;
  if (absl::Status status = CheckSections(*plan.header_); !status.ok()) return status;
  if (absl::Status status = plan.CheckTables(); !status.ok()) return status;
  if (absl::Status status = plan.CheckTrees(); !status.ok()) return status;
  if (absl::Status status = plan.CheckNames(); !status.ok()) return status;
  return plan;
}

absl::Status TreePlan::CheckTables() const {
  for (size_t i = 0; i < sets().size(); ++i) {
    if (!Inside(sets()[i].first_word, sets()[i].word_count, words().size())) {
      return Fault("sets[", i, "]: leads out of the words");
    }
  }
  for (size_t i = 0; i < linears().size(); ++i) {
    if (!Inside(linears()[i].first_term, linears()[i].term_count, terms().size())) {
      return Fault("linears[", i, "]: leads out of the terms");
    }
  }
  for (size_t i = 0; i < terms().size(); ++i) {
    if (terms()[i].feature >= features() || terms()[i].reserved != 0) {
      return Fault("terms[", i, "]: feature ", terms()[i].feature, " of ", features());
    }
  }
  return absl::OkStatus();
}

absl::Status TreePlan::CheckTrees() const {
  uint64_t end = 0;  // trees partition the nodes, so that this check is linear in the image
  for (uint32_t t = 0; t < trees().size(); ++t) {
    const PlanTree& tree = trees()[t];
    if (tree.node_count == 0 || tree.first_node != end ||
        !Inside(tree.first_node, tree.node_count, nodes().size())) {
      return Fault("trees[", t, "]: empty, out of order, or leads out of the nodes");
    }
    end += tree.node_count;
    if (tree.group >= groups() || (vector_leaves() && tree.group != 0) || tree.reserved != 0) {
      return Fault("trees[", t, "].group: ", tree.group, " of ", groups());
    }
    for (uint32_t n = 0; n < tree.node_count; ++n) {
      if (absl::Status status = CheckNode(t, n); !status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

absl::Status TreePlan::CheckNode(uint32_t t, uint32_t n) const {
  const PlanTree& tree = trees()[t];
  const PlanNode& node = nodes()[tree.first_node + n];
  const auto fault = [&](const auto&... parts) {
    return Fault("trees[", t, "].nodes[", n, "]", parts...);
  };
  if ((node.split & ~kSplitMask) != 0 || static_cast<uint32_t>(MissingOf(node)) > 2) {
    return fault(".split: reserved bits are set");
  }
  const NodeKind kind = KindOf(node);
  if (kind == NodeKind::kLeaf || kind == NodeKind::kLinearLeaf) {
    if (node.left != 0) return fault(".left: a leaf has no children");
    if (kind == NodeKind::kLinearLeaf) {
      if (family() != TreeFamily::kLightgbm || vector_leaves() || node.bits >= linears().size()) {
        return fault(".bits: no such linear leaf");
      }
    } else if (vector_leaves() &&
               (node.bits > vectors().size() || vectors().size() - node.bits < groups())) {
      return fault(".bits: leads out of the vectors");
    }
    return absl::OkStatus();
  }
  // Strictly forward, and the right child (left + 1) inside too.
  if (node.left <= n || node.left >= tree.node_count - 1) {
    return fault(".left: ", node.left, " does not lie behind its parent inside the tree");
  }
  if (NodeFeature(node) >= features()) {
    return fault(".split: feature ", NodeFeature(node), " of ", features());
  }
  if (kind == NodeKind::kCategorical) {
    if (node.bits >= sets().size()) return fault(".bits: no such category set");
  } else if (std::isnan(NodeDouble(node))) {
    return fault(".bits: the threshold is NaN");
  }
  return absl::OkStatus();
}

absl::Status TreePlan::CheckNames() const {
  uint32_t start = 0;
  const absl::Span<const uint32_t> ends = Get<uint32_t>(kNameEnds);
  for (size_t i = 0; i < ends.size(); ++i) {
    if (ends[i] < start || ends[i] > Get<char>(kNameBytes).size()) {
      return Fault("name_ends[", i, "]: out of order or out of the name bytes");
    }
    start = ends[i];
  }
  return absl::OkStatus();
}

std::string_view TreePlan::objective() const { return header_->objective; }

std::string_view TreePlan::feature_name(uint32_t feature) const {
  const absl::Span<const uint32_t> ends = Get<uint32_t>(kNameEnds);
  MR_CHECK(feature < ends.size(), "the plan has no name for this feature");
  const uint32_t start = feature == 0 ? 0 : ends[feature - 1];
  return {Get<char>(kNameBytes).data() + start, ends[feature] - start};
}

}  // namespace millrace
