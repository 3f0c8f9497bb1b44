// The element types of tensors, as the Open Inference Protocol names them.
//
// Purpose: one spelling and one width for each type in every process. Who may call: any thread.
// Invariants: 1. the numeric values cross process borders and are never changed.
//   2. BYTES has no fixed width: each element is a little-endian u32 length and that many bytes.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <optional>
#include <string_view>

namespace millrace {

enum class DataType : uint8_t {
  kInvalid = 0,
  kBool = 1,
  kUint8 = 2,
  kUint16 = 3,
  kUint32 = 4,
  kUint64 = 5,
  kInt8 = 6,
  kInt16 = 7,
  kInt32 = 8,
  kInt64 = 9,
  kFp16 = 10,
  kFp32 = 11,
  kFp64 = 12,
  kBytes = 13,
  kBf16 = 14,
};

// "FP32" for kFp32; "INVALID" for anything unknown.
std::string_view DataTypeName(DataType type);

// The inverse; nothing where the name is not one of the protocol's.
std::optional<DataType> ParseDataType(std::string_view name);

// Bytes of one element; 0 for BYTES and for anything unknown.
size_t DataTypeSize(DataType type);

}  // namespace millrace
