#include "tools/load/element.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <charconv>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/datatype.h"

namespace millrace {
namespace {

template <typename T>
void AppendBytes(T value, std::string* raw) {
  raw->append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <typename T>
std::string NumberText(std::string_view bytes) {
  T value;
  memcpy(&value, bytes.data(), sizeof value);
  char text[32];
  const auto [end, error] = std::to_chars(text, text + sizeof text, value);
  MR_CHECK(error == std::errc(), "32 characters hold any number");
  return std::string(text, end);
}

template <typename T, typename Read>
bool AppendReal(std::string_view cell, Read read, std::string* raw) {
  const std::string text(cell);
  char* end = nullptr;
  AppendBytes(static_cast<T>(read(text.c_str(), &end)), raw);
  return !text.empty() && end == text.c_str() + text.size();
}

template <typename T>
bool AppendInteger(std::string_view cell, std::string* raw) {
  T value = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  AppendBytes(value, raw);
  return error == std::errc() && end == cell.data() + cell.size();
}

bool AppendBool(std::string_view cell, std::string* raw) {
  const bool yes = cell == "1" || cell == "true";
  raw->push_back(yes ? 1 : 0);
  return yes || cell == "0" || cell == "false";
}

absl::Status Unknown(const std::string& datatype) {
  return absl::InvalidArgumentError(absl::StrCat("datatype ", datatype, " is not supported here"));
}

}  // namespace

absl::Status AppendElement(std::string_view cell, const std::string& datatype,
                           const std::string& what, std::string* raw) {
  bool good = false;
  switch (ParseDataType(datatype).value_or(DataType::kInvalid)) {
    case DataType::kBytes:
      AppendBytes(static_cast<uint32_t>(cell.size()), raw);
      raw->append(cell);
      return absl::OkStatus();
    case DataType::kFp32:
      good = AppendReal<float>(cell, strtof, raw);
      break;
    case DataType::kFp64:
      good = AppendReal<double>(cell, strtod, raw);
      break;
    case DataType::kBool:
      good = AppendBool(cell, raw);
      break;
    case DataType::kInt8:
      good = AppendInteger<int8_t>(cell, raw);
      break;
    case DataType::kInt16:
      good = AppendInteger<int16_t>(cell, raw);
      break;
    case DataType::kInt32:
      good = AppendInteger<int32_t>(cell, raw);
      break;
    case DataType::kInt64:
      good = AppendInteger<int64_t>(cell, raw);
      break;
    case DataType::kUint8:
      good = AppendInteger<uint8_t>(cell, raw);
      break;
    case DataType::kUint16:
      good = AppendInteger<uint16_t>(cell, raw);
      break;
    case DataType::kUint32:
      good = AppendInteger<uint32_t>(cell, raw);
      break;
    case DataType::kUint64:
      good = AppendInteger<uint64_t>(cell, raw);
      break;
    default:
      return absl::InvalidArgumentError(absl::StrCat(what, ": ", Unknown(datatype).message()));
  }
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(what, ": '", std::string(cell), "' is no ", datatype));
}

absl::StatusOr<std::string_view> TakeElementBytes(const std::string& datatype,
                                                  std::string_view* raw) {
  const DataType type = ParseDataType(datatype).value_or(DataType::kInvalid);
  size_t size = DataTypeSize(type);
  if (type == DataType::kBytes) {
    uint32_t length = 0;
    if (raw->size() >= sizeof length) memcpy(&length, raw->data(), sizeof length);
    size = sizeof length + length;
  } else if (size == 0) {
    return Unknown(datatype);
  }
  if (raw->size() < size) {
    return absl::InvalidArgumentError(
        absl::StrCat("a tensor of ", datatype, " ends within an element"));
  }
  const std::string_view element = raw->substr(0, size);
  raw->remove_prefix(size);
  return element;
}

absl::StatusOr<std::string> TakeElement(const std::string& datatype, std::string_view* raw) {
  const absl::StatusOr<std::string_view> bytes = TakeElementBytes(datatype, raw);
  if (!bytes.ok()) return bytes.status();
  switch (ParseDataType(datatype).value_or(DataType::kInvalid)) {
    case DataType::kBytes:
      return std::string(bytes->substr(sizeof(uint32_t)));
    case DataType::kFp32:
      return NumberText<float>(*bytes);
    case DataType::kFp64:
      return NumberText<double>(*bytes);
    case DataType::kInt8:
      return NumberText<int8_t>(*bytes);
    case DataType::kInt16:
      return NumberText<int16_t>(*bytes);
    case DataType::kInt32:
      return NumberText<int32_t>(*bytes);
    case DataType::kInt64:
      return NumberText<int64_t>(*bytes);
    case DataType::kBool:
    case DataType::kUint8:
      return NumberText<uint8_t>(*bytes);
    case DataType::kUint16:
      return NumberText<uint16_t>(*bytes);
    case DataType::kUint32:
      return NumberText<uint32_t>(*bytes);
    case DataType::kUint64:
      return NumberText<uint64_t>(*bytes);
    default:
      return Unknown(datatype);
  }
}

}  // namespace millrace
