// Forests and rows made from a seed, for tests and benches.
//
// Purpose: one generator for everything that holds kernels against each other, on the host, under
//   the SIMT shim and on a device. Plain C++.
// Who may call: any thread. Only tests and benches.
// Invariants: 1. the same spec and seed give the same bytes on every machine (no std distribution).
//   2. Rows hit thresholds exactly, lie just beside them, and hold NaN, infinities, denormals,
//      both zeros and categories inside and outside of sets, each with some probability.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <cstddef>
#include <string>
#include <vector>

#include "kernels/plan/draft.h"

namespace millrace {

// splitmix64.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next();
  uint32_t Below(uint32_t n) { return static_cast<uint32_t>((Next() >> 32) * n >> 32); }
  double Unit() { return static_cast<double>(Next() >> 11) * 0x1p-53; }  // [0, 1)
  bool Chance(double p) { return Unit() < p; }

 private:
  uint64_t state_;
};

struct ForestSpec {
  TreeFamily family = TreeFamily::kXgboost;
  uint32_t features = 8;
  uint32_t groups = 1;
  uint32_t trees = 10;
  uint32_t depth = 4;          // no path is longer
  uint32_t leaves = 0;         // 0: complete to `depth`; else grown leaf by leaf to about so many
  uint32_t edges = 50;         // distinct thresholds of a feature; the hostile values come on top
  double hostile = 0.0;        // share of thresholds that are infinite, denormal or zero
  double categorical = 0.0;    // share of splits on sets; on features of odd number
  uint32_t categories = 40;    // of a categorical feature
  bool nan_default = true;     // splits send the missing to either side; else always right
  bool mixed_missing = false;  // LightGBM: kNone, kZero and kNan by split; else kNan
  double stumps = 0.0;         // share of trees that are one leaf
  bool vector_leaves = false;
  double linear = 0.0;  // LightGBM: share of trees with linear leaves
  uint64_t seed = 1;
};

// The image of a plan; aborts where the spec cannot be one.
std::vector<std::byte> MakeForest(const ForestSpec& spec);

// [n, features] rows for the forest of `spec`. `hostile`: share of values as invariant 2 has them;
// the rest lies evenly in the range of the thresholds.
std::vector<float> MakeRows(const ForestSpec& spec, size_t n, double hostile, uint64_t seed);
std::vector<double> MakeRows64(const ForestSpec& spec, size_t n, double hostile, uint64_t seed);

}  // namespace millrace
