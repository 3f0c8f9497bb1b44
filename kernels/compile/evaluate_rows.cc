#include "kernels/compile/evaluate_rows.h"

#include <string.h>

#include <cstddef>

#include "absl/strings/str_cat.h"
#include "kernels/plan/tree_plan.h"
#include "kernels/reference/evaluate.h"

namespace millrace {
namespace {

// `bytes` where a double may lie.
std::vector<double> Aligned(const std::string& bytes) {
  std::vector<double> aligned((bytes.size() + sizeof(double) - 1) / sizeof(double));
  memcpy(aligned.data(), bytes.data(), bytes.size());
  return aligned;
}

void Append(const std::vector<double>& values, DataType type, size_t count,
            std::vector<double>* out) {
  for (size_t i = 0; i < count; ++i) {
    out->push_back(type == DataType::kFp64 ? values[i]
                                           : reinterpret_cast<const float*>(values.data())[i]);
  }
}

}  // namespace

absl::StatusOr<std::vector<double>> EvaluateRows(const std::string& plan, DataType input,
                                                 const std::string& rows) {
  const std::vector<double> image = Aligned(plan);
  const absl::StatusOr<TreePlan> opened =
      TreePlan::Open({reinterpret_cast<const std::byte*>(image.data()), plan.size()});
  if (!opened.ok()) return opened.status();
  if (!opened->AcceptsInput(input)) {
    return absl::InvalidArgumentError("the plan does not take rows of that type");
  }
  const size_t row_bytes = opened->features() * DataTypeSize(input);
  if (rows.empty() || rows.size() % row_bytes != 0) {
    return absl::InvalidArgumentError(absl::StrCat("a row of the plan has ", row_bytes,
                                                   " bytes, and ", rows.size(), " were given"));
  }
  const size_t groups = opened->groups(), columns = opened->prediction_columns();
  std::vector<double> results, margins(groups), predictions(columns);
  for (size_t at = 0; at < rows.size(); at += row_bytes) {
    const std::vector<double> row = Aligned(rows.substr(at, row_bytes));
    reference::Margins(*opened, input, row.data(), 1, margins.data());
    reference::Predictions(*opened, margins.data(), 1, predictions.data());
    Append(margins, opened->margin_type(), groups, &results);
    Append(predictions, opened->prediction_type(), columns, &results);
  }
  return results;
}

}  // namespace millrace
