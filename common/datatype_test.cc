#include "common/datatype.h"

#include <gtest/gtest.h>

#include <set>

namespace millrace {
namespace {

constexpr int kLast = static_cast<int>(DataType::kBf16);

TEST(DataType, NamesAreDistinctAndParseBackToTheirType) {
  std::set<std::string_view> names;
  for (int i = 1; i <= kLast; ++i) {
    const DataType type = static_cast<DataType>(i);
    EXPECT_TRUE(names.insert(DataTypeName(type)).second) << i;
    EXPECT_EQ(ParseDataType(DataTypeName(type)), type) << i;
  }
}

// These numbers cross process borders: a change of one is a break of the format.
TEST(DataType, NumericValuesAreFixed) {
  const std::pair<int, std::string_view> expected[] = {
      {1, "BOOL"},  {2, "UINT8"}, {3, "UINT16"}, {4, "UINT32"}, {5, "UINT64"},
      {6, "INT8"},  {7, "INT16"}, {8, "INT32"},  {9, "INT64"},  {10, "FP16"},
      {11, "FP32"}, {12, "FP64"}, {13, "BYTES"}, {14, "BF16"}};
  for (const auto& [value, name] : expected) {
    EXPECT_EQ(DataTypeName(static_cast<DataType>(value)), name);
  }
}

TEST(DataType, SizesAreThoseOfTheElements) {
  EXPECT_EQ(DataTypeSize(DataType::kBool), 1u);
  EXPECT_EQ(DataTypeSize(DataType::kUint8), sizeof(uint8_t));
  EXPECT_EQ(DataTypeSize(DataType::kUint16), sizeof(uint16_t));
  EXPECT_EQ(DataTypeSize(DataType::kUint32), sizeof(uint32_t));
  EXPECT_EQ(DataTypeSize(DataType::kUint64), sizeof(uint64_t));
  EXPECT_EQ(DataTypeSize(DataType::kInt8), sizeof(int8_t));
  EXPECT_EQ(DataTypeSize(DataType::kInt16), sizeof(int16_t));
  EXPECT_EQ(DataTypeSize(DataType::kInt32), sizeof(int32_t));
  EXPECT_EQ(DataTypeSize(DataType::kInt64), sizeof(int64_t));
  EXPECT_EQ(DataTypeSize(DataType::kFp16), 2u);
  EXPECT_EQ(DataTypeSize(DataType::kFp32), sizeof(float));
  EXPECT_EQ(DataTypeSize(DataType::kFp64), sizeof(double));
  EXPECT_EQ(DataTypeSize(DataType::kBytes), 0u);
  EXPECT_EQ(DataTypeSize(DataType::kBf16), 2u);
}

TEST(DataType, UnknownOnesAreRefused) {
  for (std::string_view name : {"", "INVALID", "fp32", "FP32 ", "FP128"}) {
    EXPECT_FALSE(ParseDataType(name).has_value()) << name;
  }
  for (int i = kLast + 1; i < 256; ++i) {
    EXPECT_EQ(DataTypeName(static_cast<DataType>(i)), "INVALID");
    EXPECT_EQ(DataTypeSize(static_cast<DataType>(i)), 0u);
  }
  EXPECT_EQ(DataTypeSize(DataType::kInvalid), 0u);
}

}  // namespace
}  // namespace millrace
