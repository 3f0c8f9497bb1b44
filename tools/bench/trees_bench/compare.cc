#include "tools/bench/trees_bench/compare.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "absl/strings/str_format.h"

namespace millrace::bench {
namespace {

template <typename Float>
Float Element(const std::byte* elements, size_t index) {
  Float value;
  std::memcpy(&value, elements + index * sizeof value, sizeof value);
  return value;
}

// The value with all its digits, and its bits.
std::string Text(const std::byte* elements, size_t index, DataType type) {
  if (type == DataType::kFp32) {
    const auto value = Element<float>(elements, index);
    return absl::StrFormat("%.9g (0x%08x)", value, std::bit_cast<uint32_t>(value));
  }
  const auto value = Element<double>(elements, index);
  return absl::StrFormat("%.17g (0x%016x)", value, std::bit_cast<uint64_t>(value));
}

}  // namespace

std::optional<Difference> FirstDifference(const std::byte* wanted, const std::byte* found,
                                          size_t count, DataType type) {
  const size_t bytes = DataTypeSize(type);
  if (std::memcmp(wanted, found, count * bytes) == 0) return std::nullopt;
  size_t i = 0;
  while (std::memcmp(wanted + i * bytes, found + i * bytes, bytes) == 0) ++i;
  return Difference{i, Text(wanted, i, type), Text(found, i, type)};
}

uint64_t UlpDistance(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) {
    return std::isnan(a) && std::isnan(b) ? 0 : std::numeric_limits<uint64_t>::max();
  }
  const auto ordered = [](float x) -> int64_t {
    const auto bits = std::bit_cast<int32_t>(x);
    return bits < 0 ? int64_t{std::numeric_limits<int32_t>::min()} - bits : bits;
  };
  const int64_t x = ordered(a), y = ordered(b);
  return static_cast<uint64_t>(std::max(x, y) - std::min(x, y));
}

void AddDistances(const std::byte* wanted, DataType type, const std::byte* found, size_t count,
                  Distances* sum) {
  for (size_t i = 0; i < count; ++i) {
    const float truth = type == DataType::kFp32 ? Element<float>(wanted, i)
                                                : static_cast<float>(Element<double>(wanted, i));
    const auto value = Element<float>(found, i);
    ++sum->compared;
    if (std::bit_cast<uint32_t>(truth) != std::bit_cast<uint32_t>(value)) ++sum->unequal;
    sum->max_ulp = std::max(sum->max_ulp, UlpDistance(truth, value));
    const double difference = std::abs(static_cast<double>(truth) - static_cast<double>(value));
    // Where one is a NaN there is no difference to speak of.
    if (difference > sum->max_difference) sum->max_difference = difference;
  }
}

}  // namespace millrace::bench
