#include "services/features/view/column_reader.h"

#include <math.h>
#include <string.h>

#include <limits>

#include "common/check.h"

namespace millrace {
namespace {

// The compiler must take `p` as written and changed here: it cannot read the source a second time
// in place of the copy.
inline void Keep(void* p) { asm volatile("" : : "r"(p) : "memory"); }

struct Half {
  uint16_t bits;
};
struct Brain {
  uint16_t bits;
};
struct Bool {
  uint8_t byte;
};

template <typename T>
double ToDouble(T value) {
  return static_cast<double>(value);
}

double ToDouble(Bool value) { return value.byte == 0 ? 0.0 : 1.0; }

// IEEE binary16: sign 1, exponent 5, fraction 10. Every value is exact in double.
double ToDouble(Half value) {
  const int exponent = (value.bits >> 10) & 0x1f;
  const int fraction = value.bits & 0x3ff;
  double magnitude;
  if (exponent == 0x1f) {
    magnitude = fraction == 0 ? std::numeric_limits<double>::infinity()
                              : std::numeric_limits<double>::quiet_NaN();
  } else if (exponent == 0) {
    magnitude = ldexp(fraction, -24);
  } else {
    magnitude = ldexp(fraction | 0x400, exponent - 25);
  }
  return (value.bits & 0x8000) != 0 ? -magnitude : magnitude;
}

// The upper half of a float32.
double ToDouble(Brain value) {
  const uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

template <typename T>
void Load(const std::byte* data, size_t first, absl::Span<double> values) {
  for (size_t i = 0; i < values.size(); ++i) {
    T element;
    memcpy(&element, data + (first + i) * sizeof(T), sizeof(T));
    values[i] = ToDouble(element);
  }
  Keep(values.data());
}

}  // namespace

void LoadNumbers(DataType datatype, const std::byte* data, size_t first,
                 absl::Span<double> values) {
  switch (datatype) {
    case DataType::kBool:
      return Load<Bool>(data, first, values);
    case DataType::kUint8:
      return Load<uint8_t>(data, first, values);
    case DataType::kUint16:
      return Load<uint16_t>(data, first, values);
    case DataType::kUint32:
      return Load<uint32_t>(data, first, values);
    case DataType::kUint64:
      return Load<uint64_t>(data, first, values);
    case DataType::kInt8:
      return Load<int8_t>(data, first, values);
    case DataType::kInt16:
      return Load<int16_t>(data, first, values);
    case DataType::kInt32:
      return Load<int32_t>(data, first, values);
    case DataType::kInt64:
      return Load<int64_t>(data, first, values);
    case DataType::kFp16:
      return Load<Half>(data, first, values);
    case DataType::kFp32:
      return Load<float>(data, first, values);
    case DataType::kFp64:
      return Load<double>(data, first, values);
    case DataType::kBf16:
      return Load<Brain>(data, first, values);
    case DataType::kInvalid:
    case DataType::kBytes:
      break;
  }
  MR_CHECK(false, "the datatype of a number column is checked before it is loaded");
}

std::optional<size_t> StringCursor::NextStrings(absl::Span<absl::string_view> texts) {
  for (size_t i = 0; i < texts.size(); ++i) {
    uint32_t length;
    if (left_ < sizeof length) return i;
    memcpy(&length, next_, sizeof length);
    Keep(&length);
    if (length > left_ - sizeof length) return i;
    texts[i] = absl::string_view(reinterpret_cast<const char*>(next_) + sizeof length, length);
    next_ += sizeof length + length;
    left_ -= sizeof length + length;
  }
  return std::nullopt;
}

}  // namespace millrace
