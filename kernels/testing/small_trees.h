// Every small tree there is: all shapes of up to three splits, on two features, with every
// threshold of two, default side and (LightGBM) kind of missing; and a grid of rows around the
// thresholds.
//
// Purpose: holds kernels against each other exhaustively where that is possible. Plain C++.
// Who may call: any thread. Only tests.
// Invariants: every tree has a margin of its own, so that its answer stands alone.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "kernels/plan/format.h"

namespace millrace {

// [n, 2]: each pair of NaN, infinities, thresholds, the floats beside them, zeros, denormals.
std::vector<float> SmallTreeRows();

// Calls `use` with the image of one plan after the other; each holds up to 256 trees.
void ForEachSmallForest(TreeFamily family,
                        const std::function<void(const std::vector<std::byte>&)>& use);

}  // namespace millrace
