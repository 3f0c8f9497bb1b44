#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/reference/evaluate.h"

namespace millrace::reference {
namespace {

// The libraries' own formulas, in float for XGBoost and in double for LightGBM. XGBoost bounds the
// exponent and keeps the denominator from 0.
float Sigmoid(float x, double /*parameter*/) {
  return 1.0f / (std::exp(std::min(-x, 88.7f)) + 1.0f + 1e-16f);
}
double Sigmoid(double x, double parameter) { return 1.0 / (1.0 + std::exp(-parameter * x)); }

// Both libraries sum the exponentials in double.
template <typename T>
void Softmax(const T* in, uint32_t groups, T* out) {
  T greatest = in[0];
  for (uint32_t g = 1; g < groups; ++g) greatest = std::max(in[g], greatest);
  double sum = 0;
  for (uint32_t g = 0; g < groups; ++g) {
    out[g] = std::exp(in[g] - greatest);
    sum += out[g];
  }
  for (uint32_t g = 0; g < groups; ++g) out[g] /= static_cast<T>(sum);
}

template <typename T>
T Argmax(const T* in, uint32_t groups) {
  uint32_t best = 0;
  for (uint32_t g = 1; g < groups; ++g) {
    if (in[g] > in[best]) best = g;
  }
  return static_cast<T>(best);
}

template <typename T>
T Elementwise(Transform transform, T x, double parameter) {
  switch (transform) {
    case Transform::kSigmoid:
      return Sigmoid(x, parameter);
    case Transform::kExp:
      return std::exp(x);
    case Transform::kStep:
      return x > 0 ? T{1} : T{0};
    case Transform::kSignedSquare:
      return static_cast<T>((x > 0) - (x < 0)) * x * x;
    case Transform::kLog1pExp:
      return std::log1p(std::exp(x));
    default:
      return x;
  }
}

template <typename T>
void RowPredictions(const PlanView& plan, const T* margins, T* out) {
  const uint32_t groups = plan.groups();
  if (plan.average_divisor() != 0) {
    for (uint32_t g = 0; g < groups; ++g)
      out[g] = margins[g] / static_cast<T>(plan.average_divisor());
    margins = out;
  }
  switch (plan.transform()) {
    case Transform::kSoftmax:
      return Softmax(margins, groups, out);
    case Transform::kArgmax:
      out[0] = Argmax(margins, groups);
      return;
    default:
      for (uint32_t g = 0; g < groups; ++g) {
        out[g] = Elementwise(plan.transform(), margins[g], plan.transform_parameter());
      }
  }
}

template <typename T>
void AllPredictions(const PlanView& plan, const void* margins, size_t n, void* out) {
  const T* in = static_cast<const T*>(margins);
  T* predictions = static_cast<T*>(out);
  for (size_t i = 0; i < n; ++i, in += plan.groups(), predictions += plan.prediction_columns()) {
    RowPredictions(plan, in, predictions);
  }
}

}  // namespace

void Predictions(const PlanView& plan, const void* margins, size_t n, void* out) {
  if (plan.margin_type() == DataType::kFp32) return AllPredictions<float>(plan, margins, n, out);
  AllPredictions<double>(plan, margins, n, out);
}

}  // namespace millrace::reference
