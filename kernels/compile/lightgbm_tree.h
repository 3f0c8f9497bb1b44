// One tree of a LightGBM model.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/compile/lightgbm_text.h"
#include "kernels/plan/writer.h"

namespace millrace {

absl::Status AddLightgbmTree(const LightgbmBlock& tree, uint32_t features, uint32_t group,
                             PlanWriter* writer);

}  // namespace millrace
