#include "services/execution/golden_run.h"

#include <math.h>
#include <string.h>

#include <algorithm>
#include <string>
#include <vector>

namespace millrace {
namespace {

// What the plan takes as it is: one row of one tensor.
const Golden* FindRow(const Model& model, const KernelShape& shape) {
  for (const Golden& golden : model.golden()) {
    if (golden.inputs_size() != 1) continue;
    const GoldenTensor& input = golden.inputs(0);
    const auto type = static_cast<DataType>(input.datatype());
    if (!shape.Accepts(type) || input.data().size() != shape.features * DataTypeSize(type))
      continue;
    return &golden;
  }
  return nullptr;
}

template <typename T>
bool Close(const std::string& expected, const std::byte* got, double tolerance) {
  for (size_t at = 0; at + sizeof(T) <= expected.size(); at += sizeof(T)) {
    T a, b;
    memcpy(&a, expected.data() + at, sizeof a);
    memcpy(&b, got + at, sizeof b);
    if (isnan(a) && isnan(b)) continue;
    if (!(fabs(a - b) <= tolerance * std::max<double>(fabs(a), fabs(b)))) return false;
  }
  return true;
}

bool Same(const GoldenTensor& expected, const std::vector<std::byte>& got, double tolerance) {
  if (expected.data().size() > got.size()) return false;
  if (tolerance == 0)
    return memcmp(expected.data().data(), got.data(), expected.data().size()) == 0;
  return static_cast<DataType>(expected.datatype()) == DataType::kFp64
             ? Close<double>(expected.data(), got.data(), tolerance)
             : Close<float>(expected.data(), got.data(), tolerance);
}

}  // namespace

GoldenRun RunGoldenRow(const Model& model, const DispatchKernel& kernel,
                       absl::Span<std::byte> scratch) {
  const KernelShape& shape = kernel.shape();
  const Golden* const golden = FindRow(model, shape);
  if (golden == nullptr) return GoldenRun::kNone;
  const std::string& data = golden->inputs(0).data();
  std::vector<double> input(data.size() / sizeof(double) + 1);  // for its alignment
  memcpy(input.data(), data.data(), data.size());
  std::vector<std::byte> margins(shape.groups * DataTypeSize(shape.margin_type));
  std::vector<std::byte> predictions(shape.prediction_columns *
                                     DataTypeSize(shape.prediction_type));
  const KernelPiece piece = {input.data(), 1, margins.data(), predictions.data()};
  const auto type = static_cast<DataType>(golden->inputs(0).datatype());
  if (!kernel.RunOnCpu({type, {&piece, 1}, scratch}).ok()) return GoldenRun::kWrong;
  for (const GoldenTensor& expected : golden->outputs()) {
    for (const OutputSpec& output : model.outputs()) {
      if (output.tensor().name() != expected.name()) continue;
      const bool margin = output.kind() == MARGIN;
      if (!margin && output.kind() != PREDICTION) continue;
      if (!Same(expected, margin ? margins : predictions, golden->tolerance())) {
        return GoldenRun::kWrong;
      }
    }
  }
  return GoldenRun::kRight;
}

}  // namespace millrace
