#include "services/ingress/grpc/typed_contents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace millrace {
namespace {

using inference::InferTensorContents;
using ::testing::HasSubstr;

template <typename T>
std::string Raw(const std::vector<T>& elements) {
  return std::string(reinterpret_cast<const char*>(elements.data()), elements.size() * sizeof(T));
}

std::string Convert(const InferTensorContents& contents, DataType datatype) {
  std::string raw = "left over from the request before";
  const absl::Status status = ContentsToRaw(contents, datatype, &raw);
  return status.ok() ? raw : std::string(status.message());
}

TEST(TypedContents, EveryFixedWidthTypeBecomesItsBytes) {
  InferTensorContents bools;
  for (bool b : {true, false, true}) bools.add_bool_contents(b);
  EXPECT_EQ(Convert(bools, DataType::kBool), Raw<uint8_t>({1, 0, 1}));

  InferTensorContents ints;
  for (int i : {-128, 0, 127}) ints.add_int_contents(i);
  EXPECT_EQ(Convert(ints, DataType::kInt8), Raw<int8_t>({-128, 0, 127}));
  EXPECT_EQ(Convert(ints, DataType::kInt16), Raw<int16_t>({-128, 0, 127}));
  EXPECT_EQ(Convert(ints, DataType::kInt32), Raw<int32_t>({-128, 0, 127}));

  InferTensorContents uints;
  for (unsigned i : {0u, 255u}) uints.add_uint_contents(i);
  EXPECT_EQ(Convert(uints, DataType::kUint8), Raw<uint8_t>({0, 255}));
  EXPECT_EQ(Convert(uints, DataType::kUint16), Raw<uint16_t>({0, 255}));
  EXPECT_EQ(Convert(uints, DataType::kUint32), Raw<uint32_t>({0, 255}));

  InferTensorContents longs;
  longs.add_int64_contents(std::numeric_limits<int64_t>::min());
  EXPECT_EQ(Convert(longs, DataType::kInt64), Raw<int64_t>({std::numeric_limits<int64_t>::min()}));
  InferTensorContents ulongs;
  ulongs.add_uint64_contents(std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(Convert(ulongs, DataType::kUint64),
            Raw<uint64_t>({std::numeric_limits<uint64_t>::max()}));

  const float odd = std::nextafter(1.0F, 2.0F);
  InferTensorContents floats;
  floats.add_fp32_contents(odd);
  floats.add_fp32_contents(std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(Convert(floats, DataType::kFp32),
            Raw<float>({odd, std::numeric_limits<float>::quiet_NaN()}));
  InferTensorContents doubles;
  doubles.add_fp64_contents(-0.0);
  EXPECT_EQ(Convert(doubles, DataType::kFp64), Raw<double>({-0.0}));
}

TEST(TypedContents, BytesAreLengthAndData) {
  InferTensorContents contents;
  contents.add_bytes_contents("ab");
  contents.add_bytes_contents("");
  EXPECT_EQ(Convert(contents, DataType::kBytes), std::string("\2\0\0\0ab\0\0\0\0", 10));
}

TEST(TypedContents, NothingStaysOfTheRequestBefore) {
  EXPECT_EQ(Convert(InferTensorContents(), DataType::kFp32), "");
  EXPECT_EQ(Convert(InferTensorContents(), DataType::kBytes), "");
  EXPECT_EQ(Convert(InferTensorContents(), DataType::kInt8), "");
}

TEST(TypedContents, AValueThatDoesNotFitIsNamed) {
  InferTensorContents ints;
  ints.add_int_contents(1);
  ints.add_int_contents(128);
  EXPECT_EQ(Convert(ints, DataType::kInt8), "contents.int_contents[1]: 128 does not fit INT8");
  InferTensorContents uints;
  uints.add_uint_contents(65536);
  EXPECT_EQ(Convert(uints, DataType::kUint16),
            "contents.uint_contents[0]: 65536 does not fit UINT16");
}

// Each datatype against each field: only its own is taken.
TEST(TypedContents, EveryWrongFieldIsNamed) {
  const std::vector<DataType> types = {DataType::kBool,   DataType::kInt8,   DataType::kInt16,
                                       DataType::kInt32,  DataType::kInt64,  DataType::kUint8,
                                       DataType::kUint16, DataType::kUint32, DataType::kUint64,
                                       DataType::kFp32,   DataType::kFp64,   DataType::kBytes};
  const std::vector<std::string> own = {"bool_contents", "int_contents",   "int_contents",
                                        "int_contents",  "int64_contents", "uint_contents",
                                        "uint_contents", "uint_contents",  "uint64_contents",
                                        "fp32_contents", "fp64_contents",  "bytes_contents"};
  const google::protobuf::Descriptor* fields = InferTensorContents::descriptor();
  for (size_t t = 0; t < types.size(); ++t) {
    for (int f = 0; f < fields->field_count(); ++f) {
      InferTensorContents contents;
      const auto* field = fields->field(f);
      // One element of value zero or empty, made from the wire: key and an empty packed run would
      // add none.
      const google::protobuf::Reflection* reflection = contents.GetReflection();
      switch (field->cpp_type()) {
        case google::protobuf::FieldDescriptor::CPPTYPE_BOOL:
          reflection->AddBool(&contents, field, false);
          break;
        case google::protobuf::FieldDescriptor::CPPTYPE_INT32:
          reflection->AddInt32(&contents, field, 0);
          break;
        case google::protobuf::FieldDescriptor::CPPTYPE_INT64:
          reflection->AddInt64(&contents, field, 0);
          break;
        case google::protobuf::FieldDescriptor::CPPTYPE_UINT32:
          reflection->AddUInt32(&contents, field, 0);
          break;
        case google::protobuf::FieldDescriptor::CPPTYPE_UINT64:
          reflection->AddUInt64(&contents, field, 0);
          break;
        case google::protobuf::FieldDescriptor::CPPTYPE_FLOAT:
          reflection->AddFloat(&contents, field, 0);
          break;
        case google::protobuf::FieldDescriptor::CPPTYPE_DOUBLE:
          reflection->AddDouble(&contents, field, 0);
          break;
        default:
          reflection->AddString(&contents, field, "");
          break;
      }
      std::string raw;
      const absl::Status status = ContentsToRaw(contents, types[t], &raw);
      if (field->name() == own[t]) {
        EXPECT_TRUE(status.ok()) << field->name() << ": " << status;
        continue;
      }
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << field->name();
      EXPECT_THAT(std::string(status.message()), HasSubstr(field->name()));
      EXPECT_THAT(std::string(status.message()), HasSubstr("is sent in " + own[t]));
    }
  }
}

TEST(TypedContents, HalfPrecisionIsSentRawOnly) {
  EXPECT_THAT(Convert(InferTensorContents(), DataType::kFp16), HasSubstr("raw_input_contents"));
  EXPECT_THAT(Convert(InferTensorContents(), DataType::kBf16), HasSubstr("raw_input_contents"));
}

}  // namespace
}  // namespace millrace
