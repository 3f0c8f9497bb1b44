#include "kernels/shape.h"

namespace millrace {

KernelShape ShapeOf(const PlanView& plan) {
  KernelShape shape = {
      .features = plan.features(),
      .groups = plan.groups(),
      .prediction_columns = plan.prediction_columns(),
      .margin_type = plan.margin_type(),
      .prediction_type = plan.prediction_type(),
      .accepts_fp64 = plan.AcceptsInput(DataType::kFp64),
      .objective = std::string(plan.objective()),
      .feature_names = {},
  };
  if (plan.has_feature_names()) {
    for (uint32_t i = 0; i < plan.features(); ++i) {
      shape.feature_names.emplace_back(plan.feature_name(i));
    }
  }
  return shape;
}

}  // namespace millrace
