#include "kernels/plan/plan_view.h"

#include "common/check.h"

namespace millrace {

std::string_view PlanView::feature_name(uint32_t feature) const {
  const std::span<const uint32_t> ends = Get<uint32_t>(kNameEnds);
  MR_CHECK(feature < ends.size(), "the plan has no name for this feature");
  const uint32_t start = feature == 0 ? 0 : ends[feature - 1];
  return {Get<char>(kNameBytes).data() + start, ends[feature] - start};
}

}  // namespace millrace
