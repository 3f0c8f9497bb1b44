// features.yaml: how named raw columns become a row of the model's tensor.
//
// Purpose: read a feature view and say everything that is wrong with it, by line and field.
//     view: NAME
//     features:
//       - column: age
//         type: number            # or string; number where it is left out
//         transforms:             # in order; may be left out
//           - fill: 30
//           - scale: {mean: 41.5, std: 12.0}
//       - column: plan
//         type: string
//         transforms:
//           - vocabulary: {values: [basic, full], unknown: missing}   # or reject, or a number
//           - one_hot
//   Transforms: fill, clip: [lo, hi], scale: {mean, std}, log1p, bucketize: [edges], vocabulary,
//   one_hot, cast: float32|int64. Services/features says what each computes.
// Who may call: any thread; nothing is kept.
// Invariants of a view without faults: its columns together are as many as the model's features,
//   no column has the name of the ready tensor, and one that stands twice has one type.
// What fails: see `faults`.
#pragma once

#include <stdint.h>

#include <string>
#include <string_view>
#include <vector>

#include "common/config.h"
#include "ipc/catalog.pb.h"

namespace millrace {

struct FeatureViewResult {
  FeatureView view;
  std::vector<ConfigFault> faults;  // empty: `view` may be used
};

// `features` that the model takes, in the tensor `tensor_name`.
FeatureViewResult ParseFeatureView(std::string_view yaml, uint32_t features,
                                   std::string_view tensor_name);

}  // namespace millrace
