// Margins beside the trainer's.
//
// Purpose: says whether all bits are equal, and else where the first difference is; counts the
//   differences of one that sums in another order. Who may call: any thread.
// Invariants: 1. bits are compared, not values: 0.0 is not -0.0, and a NaN equals only its own
// bits. Fails: nothing.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "common/datatype.h"

namespace millrace::bench {

struct Difference {
  size_t element;  // index of the first one that differs
  std::string wanted, found;
};

// `count` elements of one type, kFp32 or kFp64.
std::optional<Difference> FirstDifference(const std::byte* wanted, const std::byte* found,
                                          size_t count, DataType type);

// Units in the last place between two float32; NaN is 0 from NaN and far from everything else.
uint64_t UlpDistance(float a, float b);

struct Distances {
  uint64_t compared = 0, unequal = 0, max_ulp = 0;  // an ulp is tiny where a sum is near zero
  double max_difference = 0;

  // Takes over the greatest distances, not the counts.
  void Widen(const Distances& other) {
    max_ulp = std::max(max_ulp, other.max_ulp);
    max_difference = std::max(max_difference, other.max_difference);
  }
};

// Adds up float32 `found` beside `wanted` of `type`, which is rounded to float32.
void AddDistances(const std::byte* wanted, DataType type, const std::byte* found, size_t count,
                  Distances* sum);

}  // namespace millrace::bench
