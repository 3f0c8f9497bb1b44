// Whether a computed number is the one that was expected.
//
// Purpose: golden answers, which may have been computed elsewhere: the registry compares them at a
//   load, ingress once a version is served. Who may call: any thread. Nothing fails.
// Invariants: 1. The tolerance is relative to the larger of both; with 0 they must be equal.
//   2. NaN is NaN's equal alone, an infinity its own.
#pragma once

#include <math.h>
#include <stddef.h>
#include <string.h>

#include <algorithm>
#include <string_view>

#include "common/datatype.h"

namespace millrace {

inline bool IsFloat(DataType type) { return type == DataType::kFp32 || type == DataType::kFp64; }

// Element `i` of a tensor's bytes, which has it; `type`: a float's.
inline double FloatAt(std::string_view raw, DataType type, size_t i) {
  if (type == DataType::kFp64) {
    double value;
    memcpy(&value, raw.data() + i * sizeof value, sizeof value);
    return value;
  }
  float value;
  memcpy(&value, raw.data() + i * sizeof value, sizeof value);
  return value;
}

inline bool Near(double a, double b, double tolerance) {
  if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
  if (isinf(a) || isinf(b)) return a == b;
  return a == b || fabs(a - b) <= tolerance * std::max(fabs(a), fabs(b));
}

}  // namespace millrace
