#include "services/ingress/grpc/typed_contents.h"

#include <stdint.h>
#include <string.h>

#include <array>
#include <bit>
#include <limits>

#include "absl/strings/str_cat.h"
#include "services/ingress/grpc/grpc_status.h"

namespace millrace {
namespace {

static_assert(std::endian::native == std::endian::little, "raw tensors are little-endian");
static_assert(sizeof(bool) == 1, "BOOL is one byte");

using google::protobuf::RepeatedField;
using google::protobuf::RepeatedPtrField;

// The typed fields, by their numbers in InferTensorContents.
enum Field { kNone = 0, kBool, kInt, kInt64, kUint, kUint64, kFp32, kFp64, kBytes, kFieldCount };

constexpr std::array<absl::string_view, kFieldCount> kFieldNames = {
    "none",           "bool_contents", "int_contents",
    "int64_contents", "uint_contents", "uint64_contents",
    "fp32_contents",  "fp64_contents", "bytes_contents"};
static_assert(static_cast<int>(kBytes) == inference::InferTensorContents::kBytesContentsFieldNumber,
              "one name for each field");

absl::string_view Name(DataType datatype) { return Abseil(DataTypeName(datatype)); }

Field FieldOf(DataType datatype) {
  switch (datatype) {
    case DataType::kBool:
      return kBool;
    case DataType::kInt8:
    case DataType::kInt16:
    case DataType::kInt32:
      return kInt;
    case DataType::kInt64:
      return kInt64;
    case DataType::kUint8:
    case DataType::kUint16:
    case DataType::kUint32:
      return kUint;
    case DataType::kUint64:
      return kUint64;
    case DataType::kFp32:
      return kFp32;
    case DataType::kFp64:
      return kFp64;
    case DataType::kBytes:
      return kBytes;
    case DataType::kInvalid:
    case DataType::kFp16:
    case DataType::kBf16:
      return kNone;
  }
  return kNone;
}

// The first field that holds elements and is not `expected`; kNone where there is none.
Field FilledOther(const inference::InferTensorContents& contents, Field expected) {
  const std::array<int, kFieldCount> sizes = {0,
                                              contents.bool_contents_size(),
                                              contents.int_contents_size(),
                                              contents.int64_contents_size(),
                                              contents.uint_contents_size(),
                                              contents.uint64_contents_size(),
                                              contents.fp32_contents_size(),
                                              contents.fp64_contents_size(),
                                              contents.bytes_contents_size()};
  for (int field = kBool; field < kFieldCount; ++field) {
    if (field != expected && sizes[field] != 0) return static_cast<Field>(field);
  }
  return kNone;
}

template <typename T>
void CopyAll(const RepeatedField<T>& elements, std::string* raw) {
  raw->assign(reinterpret_cast<const char*>(elements.data()), elements.size() * sizeof(T));
}

template <typename Narrow, typename Wide>
absl::Status CopyNarrow(const RepeatedField<Wide>& elements, Field field, DataType datatype,
                        std::string* raw) {
  raw->resize(elements.size() * sizeof(Narrow));
  char* out = raw->data();
  for (int i = 0; i < elements.size(); ++i) {
    if (elements[i] < std::numeric_limits<Narrow>::min() ||
        elements[i] > std::numeric_limits<Narrow>::max()) {
      return absl::InvalidArgumentError(absl::StrCat("contents.", kFieldNames[field], "[", i,
                                                     "]: ", elements[i], " does not fit ",
                                                     Name(datatype)));
    }
    const Narrow element = static_cast<Narrow>(elements[i]);
    memcpy(out, &element, sizeof element);
    out += sizeof element;
  }
  return absl::OkStatus();
}

// Lengths fit in 32 bits: a protobuf message ends at 2 GiB.
void CopyBytes(const RepeatedPtrField<std::string>& elements, std::string* raw) {
  size_t size = 0;
  for (const std::string& element : elements) size += sizeof(uint32_t) + element.size();
  raw->resize(size);
  char* out = raw->data();
  for (const std::string& element : elements) {
    const uint32_t length = static_cast<uint32_t>(element.size());
    memcpy(out, &length, sizeof length);
    memcpy(out + sizeof length, element.data(), length);
    out += sizeof length + length;
  }
}

}  // namespace

absl::Status ContentsToRaw(const inference::InferTensorContents& contents, DataType datatype,
                           std::string* raw) {
  const Field field = FieldOf(datatype);
  if (field == kNone) {
    return absl::InvalidArgumentError(
        absl::StrCat("contents: ", Name(datatype), " has no typed field; send raw_input_contents"));
  }
  if (const Field other = FilledOther(contents, field); other != kNone) {
    return absl::InvalidArgumentError(absl::StrCat(
        "contents.", kFieldNames[other], ": ", Name(datatype), " is sent in ", kFieldNames[field]));
  }
  switch (datatype) {
    case DataType::kBool:
      CopyAll(contents.bool_contents(), raw);
      break;
    case DataType::kInt8:
      return CopyNarrow<int8_t>(contents.int_contents(), field, datatype, raw);
    case DataType::kInt16:
      return CopyNarrow<int16_t>(contents.int_contents(), field, datatype, raw);
    case DataType::kInt32:
      CopyAll(contents.int_contents(), raw);
      break;
    case DataType::kInt64:
      CopyAll(contents.int64_contents(), raw);
      break;
    case DataType::kUint8:
      return CopyNarrow<uint8_t>(contents.uint_contents(), field, datatype, raw);
    case DataType::kUint16:
      return CopyNarrow<uint16_t>(contents.uint_contents(), field, datatype, raw);
    case DataType::kUint32:
      CopyAll(contents.uint_contents(), raw);
      break;
    case DataType::kUint64:
      CopyAll(contents.uint64_contents(), raw);
      break;
    case DataType::kFp32:
      CopyAll(contents.fp32_contents(), raw);
      break;
    case DataType::kFp64:
      CopyAll(contents.fp64_contents(), raw);
      break;
    case DataType::kBytes:
      CopyBytes(contents.bytes_contents(), raw);
      break;
    case DataType::kInvalid:
    case DataType::kFp16:
    case DataType::kBf16:
      break;  // have no field, refused above
  }
  return absl::OkStatus();
}

}  // namespace millrace
