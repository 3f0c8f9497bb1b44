// A prediction as aggregation reads it: [rows, columns] of FP32 or FP64, row-major.
//
// Purpose: one checked view for all that this folder computes. Who may call: any thread.
// Ownership: none; the bytes may lie in a peer's memory, at any alignment, and may change at any
//   time: what is computed from them may then be nonsense, but stays in its bounds.
// Invariants: after CheckMatrix, At(row, column) with row < rows and column < columns stays in the
//   bytes. What fails: CheckMatrix, with a sentence that begins with "prediction".
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "absl/status/status.h"
#include "common/datatype.h"

namespace millrace {

struct Matrix {
  DataType datatype = DataType::kInvalid;
  const std::byte* data = nullptr;
  size_t bytes = 0;
  size_t rows = 0;
  size_t columns = 0;

  // Only after CheckMatrix. FP32 is exact in double.
  double At(size_t row, size_t column) const {
    const size_t i = row * columns + column;
    if (datatype == DataType::kFp64) {
      double value;
      memcpy(&value, data + i * sizeof value, sizeof value);
      return value;
    }
    float value;
    memcpy(&value, data + i * sizeof value, sizeof value);
    return value;
  }
};

absl::Status CheckMatrix(const Matrix& matrix);

// The class of a row: the column with the highest value, ties to the lowest index; with a single
// column 1 where the value is 0.5 or more, else 0. NaN is below everything, so a row of nothing
// else is class 0. Only after CheckMatrix.
size_t ClassOf(const Matrix& matrix, size_t row);

// How many classes a prediction of so many columns tells apart.
inline size_t ClassCount(size_t columns) { return columns == 1 ? 2 : columns; }

}  // namespace millrace
