#include "kernels/plan/draft.h"

#include "common/check.h"

namespace millrace {

DraftNode DraftLeaf(double value) {
  DraftNode node;
  node.value = value;
  return node;
}

DraftNode DraftIndexLeaf(NodeKind kind, uint64_t index) {
  DraftNode node;
  node.kind = kind;
  node.index = index;
  return node;
}

DraftNode DraftNumeric(uint32_t feature, double threshold, Missing missing, bool default_left) {
  MR_CHECK(feature < kMaxFeatures, "the parser limits feature indexes");
  DraftNode node;
  node.kind = NodeKind::kNumeric;
  node.missing = missing;
  node.default_left = default_left;
  node.feature = feature;
  node.value = threshold;
  return node;
}

DraftNode DraftCategorical(uint32_t feature, uint32_t set, Missing missing, bool default_left) {
  MR_CHECK(feature < kMaxFeatures, "the parser limits feature indexes");
  DraftNode node;
  node.kind = NodeKind::kCategorical;
  node.missing = missing;
  node.default_left = default_left;
  node.feature = feature;
  node.index = set;
  return node;
}

}  // namespace millrace
