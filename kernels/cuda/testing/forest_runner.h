// Runs the forest kernel in a shape that the test chooses, under the SIMT shim.
//
// Who may call: tests, one thread at a time.
// Ownership: everything is allocated for one run and freed after it.
// Invariants:
//   1. The margins that come back are what the kernel wrote for the rows asked for, and the run's
//      sequence had been stored when the stream was done; else the test fails.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/cuda/tile_shape.h"
#include "kernels/plan/plan_view.h"

namespace millrace::cuda {

struct ForcedRun {
  TileRules rules;
  uint32_t shared_limit_bytes = 200 * 1024;
  bool row_table = false;      // rows through the table, in falling order
  bool reverse_trees = false;  // a planted fault: sums in another order
};

// [n, groups] of the plan's margin type.
std::vector<std::byte> RunForced(const PlanView& plan, const std::vector<float>& rows, size_t n,
                                 const ForcedRun& run);

std::vector<std::byte> ReferenceMargins(const PlanView& plan, const std::vector<float>& rows,
                                        size_t n);

}  // namespace millrace::cuda
