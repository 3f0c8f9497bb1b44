#include "common/datatype.h"

#include <array>

namespace millrace {
namespace {

struct Row {
  std::string_view name;
  size_t size;
};

// Indexed by the numeric value of DataType.
constexpr std::array<Row, 15> kRows = {{{"INVALID", 0},
                                        {"BOOL", 1},
                                        {"UINT8", 1},
                                        {"UINT16", 2},
                                        {"UINT32", 4},
                                        {"UINT64", 8},
                                        {"INT8", 1},
                                        {"INT16", 2},
                                        {"INT32", 4},
                                        {"INT64", 8},
                                        {"FP16", 2},
                                        {"FP32", 4},
                                        {"FP64", 8},
                                        {"BYTES", 0},
                                        {"BF16", 2}}};
static_assert(kRows.size() == static_cast<size_t>(DataType::kBf16) + 1, "one row for each type");

}  // namespace

std::string_view DataTypeName(DataType type) {
  const size_t i = static_cast<size_t>(type);
  return i < kRows.size() ? kRows[i].name : kRows[0].name;
}

std::optional<DataType> ParseDataType(std::string_view name) {
  for (size_t i = 1; i < kRows.size(); ++i) {
    if (kRows[i].name == name) return static_cast<DataType>(i);
  }
  return std::nullopt;
}

size_t DataTypeSize(DataType type) {
  const size_t i = static_cast<size_t>(type);
  return i < kRows.size() ? kRows[i].size : 0;
}

}  // namespace millrace
