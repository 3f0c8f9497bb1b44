// What the compiler child says about a model: one line of JSON on its standard output.
//
// Purpose: the line comes from a process that handled an untrusted file, so it is checked like any
//   input from outside. Who may call: any thread; nothing is kept.
// Invariants: a report that ParseCompileReport returns has at least one feature, group and column,
//   FP32 or FP64 as datatypes, and a plan of at least one byte.
// What fails: INVALID_ARGUMENT with the compiler's own sentence, or with the field that is wrong.
#pragma once

#include <stdint.h>

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/datatype.h"

namespace millrace {

struct CompileReport {
  std::string format;     // "xgboost_json", "xgboost_ubj", "lightgbm_text"
  std::string objective;  // as the library names it
  uint32_t features = 0;
  uint32_t groups = 0;  // margins of a row
  uint32_t prediction_columns = 0;
  DataType margin_type = DataType::kInvalid;
  DataType prediction_type = DataType::kInvalid;
  uint64_t trees = 0;
  uint64_t nodes = 0;
  uint64_t plan_bytes = 0;
  uint64_t private_bytes = 0;  // of each process that runs it; 0: not told
  // What the scalar reference makes of the golden row (common/golden_row.h); empty: not told.
  std::vector<double> golden_margins;
  std::vector<double> golden_predictions;
};

absl::StatusOr<CompileReport> ParseCompileReport(std::string_view line);

}  // namespace millrace
