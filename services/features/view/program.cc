// What a compiled feature does to a chunk of values.
#include "services/features/view/program.h"

#include <math.h>
#include <string.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace millrace {
namespace {

constexpr double kTwoTo63 = 9223372036854775808.0;

// Round trips through the shorter type, as a value that lives in that type would read.
std::optional<ProgramFault> CastInt64(absl::Span<double> values) {
  for (size_t i = 0; i < values.size(); ++i) {
    const double x = values[i];
    if (isnan(x)) continue;
    if (!(x >= -kTwoTo63 && x < kTwoTo63)) {
      return ProgramFault{i, absl::StrFormat("%g does not fit INT64", x)};
    }
    values[i] = static_cast<double>(static_cast<int64_t>(x));
  }
  return std::nullopt;
}

std::optional<ProgramFault> CheckOneHot(absl::Span<const double> values, double width) {
  for (size_t i = 0; i < values.size(); ++i) {
    const double x = values[i];
    if (isnan(x) || (x >= 0 && x < width && x == trunc(x))) continue;
    return ProgramFault{i, absl::StrFormat("%g is no index of a one_hot of width %g", x, width)};
  }
  return std::nullopt;
}

// One missing value, one bit pattern: the sign and payload of a computed NaN vary by machine.
float ToFloat(double value) {
  return isnan(value) ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(value);
}

}  // namespace

std::optional<ProgramFault> FeatureProgram::LookUp(absl::Span<const absl::string_view> texts,
                                                   double* values) const {
  for (size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].empty()) {
      values[i] = strings->missing;
      continue;
    }
    const auto found = strings->positions.find(texts[i]);
    if (found != strings->positions.end()) {
      values[i] = found->second;
    } else if (strings->unknown) {
      values[i] = *strings->unknown;
    } else {
      return ProgramFault{i, absl::StrCat(Quoted(texts[i]), " is not in the vocabulary")};
    }
  }
  return std::nullopt;
}

std::optional<ProgramFault> FeatureProgram::RunOne(const Op& op, absl::Span<double> values) const {
  switch (op.kind) {
    case Op::Kind::kCastInt64:
      return CastInt64(values);
    case Op::Kind::kOneHot:
      return CheckOneHot(values, op.a);
    case Op::Kind::kCastFloat32:
      for (double& x : values) x = static_cast<float>(x);
      break;
    case Op::Kind::kFill:
      for (double& x : values) x = isnan(x) ? op.a : x;
      break;
    case Op::Kind::kScale:
      for (double& x : values) x = (x - op.a) / op.b;
      break;
    case Op::Kind::kLog1p:
      for (double& x : values) x = log1p(x);
      break;
    case Op::Kind::kClip:
      for (double& x : values) {
        x = x < op.a ? op.a : x;
        x = x > op.b ? op.b : x;
      }
      break;
    case Op::Kind::kBucketize:
      for (double& x : values) {
        if (isnan(x)) continue;
        x = static_cast<double>(std::upper_bound(op.edges.begin(), op.edges.end(), x) -
                                op.edges.begin());
      }
      break;
  }
  return std::nullopt;
}

std::optional<ProgramFault> FeatureProgram::Run(absl::Span<double> values) const {
  for (const Op& op : ops) {
    std::optional<ProgramFault> fault = RunOne(op, values);
    if (fault) return fault;
  }
  return std::nullopt;
}

void FeatureProgram::Store(absl::Span<const double> values, size_t stride, float* out) const {
  const bool one_hot = !ops.empty() && ops.back().kind == Op::Kind::kOneHot;
  for (size_t i = 0; i < values.size(); ++i) {
    float* row = out + i * stride + offset;
    if (!one_hot) {
      *row = ToFloat(values[i]);
      continue;
    }
    memset(row, 0, width * sizeof(float));
    if (!isnan(values[i])) row[static_cast<size_t>(values[i])] = 1.0f;
  }
}

}  // namespace millrace
