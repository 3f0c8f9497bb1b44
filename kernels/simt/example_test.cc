// The example gives the same bits under the shim, and on a device where there is one.
#include "kernels/simt/example.h"

#include <gtest/gtest.h>

#include <vector>

namespace millrace {
namespace {

// CUDA's own codes: this file is linked with either runtime and includes neither.
constexpr int kInsufficientDriver = 35;
constexpr int kNoDevice = 100;

// The order of the kernel: 128 partial sums, folded by halves in each warp, then warp by warp.
float Expected(const float* row, int columns) {
  std::vector<float> partial(128, 0.0f);
  for (int i = 0; i < columns; ++i) partial[i % 128] += row[i];
  float sum = 0;
  for (int warp = 0; warp < 4; ++warp) {
    float* lanes = partial.data() + warp * 32;
    for (int distance = 16; distance > 0; distance /= 2) {
      for (int lane = 0; lane < distance; ++lane) lanes[lane] += lanes[lane + distance];
    }
    sum += lanes[0];
  }
  return sum;
}

TEST(Example, SumsRowsInItsOrder) {
  constexpr int kRows = 37, kColumns = 301;
  std::vector<float> numbers(kRows * kColumns), sums(kRows);
  for (int i = 0; i < kRows * kColumns; ++i) numbers[i] = 0.1f * static_cast<float>(i % 977);
  float largest = -1;
  const int error = SumRows(numbers.data(), kRows, kColumns, sums.data(), &largest);
  if (error == kInsufficientDriver || error == kNoDevice) GTEST_SKIP() << "no CUDA device";
  ASSERT_EQ(error, 0);
  float expected_largest = 0;
  for (int row = 0; row < kRows; ++row) {
    const float expected = Expected(numbers.data() + row * kColumns, kColumns);
    EXPECT_EQ(sums[row], expected) << "row " << row;
    expected_largest = expected > expected_largest ? expected : expected_largest;
  }
  EXPECT_EQ(largest, expected_largest);
}

}  // namespace
}  // namespace millrace
