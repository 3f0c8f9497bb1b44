// The example of README.md: one source, compiled by nvcc and by the host compiler.
//
// Purpose: shows how a kernel is written for both, and holds cuda.h to working on both.
// Who may call: tests.
// What fails: CUDA's own error code.
#pragma once

namespace millrace {

// sums[r] = the sum of row r of `rows` rows of `columns` numbers, and largest[0] the largest sum.
// Numbers are host memory; the sums are added in a fixed order.
int SumRows(const float* numbers, int rows, int columns, float* sums, float* largest);

}  // namespace millrace
