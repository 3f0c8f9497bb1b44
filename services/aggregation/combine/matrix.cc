#include "services/aggregation/combine/matrix.h"

#include <math.h>

#include <limits>

#include "absl/strings/str_cat.h"

namespace millrace {

absl::Status CheckMatrix(const Matrix& matrix) {
  if (matrix.datatype != DataType::kFp32 && matrix.datatype != DataType::kFp64) {
    return absl::InvalidArgumentError(absl::StrCat("prediction: FP32 or FP64 is needed, not ",
                                                   std::string(DataTypeName(matrix.datatype))));
  }
  size_t elements = 0;
  size_t bytes = 0;
  if (matrix.columns == 0 || __builtin_mul_overflow(matrix.rows, matrix.columns, &elements) ||
      __builtin_mul_overflow(elements, DataTypeSize(matrix.datatype), &bytes) ||
      bytes != matrix.bytes) {
    return absl::InvalidArgumentError(absl::StrCat("prediction: ", matrix.bytes, " bytes are not [",
                                                   matrix.rows, ", ", matrix.columns, "] of ",
                                                   std::string(DataTypeName(matrix.datatype))));
  }
  return absl::OkStatus();
}

size_t ClassOf(const Matrix& matrix, size_t row) {
  if (matrix.columns == 1) return matrix.At(row, 0) >= 0.5 ? 1 : 0;
  size_t best = 0;
  double best_value = matrix.At(row, 0);
  for (size_t c = 1; c < matrix.columns; ++c) {
    const double value = matrix.At(row, c);
    if (value > best_value || (isnan(best_value) && !isnan(value))) {
      best = c;
      best_value = value;
    }
  }
  return best;
}

}  // namespace millrace
