#include "tools/load/element.h"

#include <errno.h>
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

absl::Status Unknown(const std::string& datatype) {
  return absl::InvalidArgumentError(absl::StrCat("datatype ", datatype, " is not supported here"));
}

}  // namespace

absl::Status AppendElement(std::string_view cell, const std::string& datatype,
                           const std::string& what, std::string* raw) {
  const std::string text(cell);
  char* end = nullptr;
  errno = 0;
  if (datatype == "BYTES") {
    AppendBytes(static_cast<uint32_t>(text.size()), raw);
    raw->append(text);
    return absl::OkStatus();
  }
  if (datatype == "FP32") {
    AppendBytes(strtof(text.c_str(), &end), raw);
  } else if (datatype == "FP64") {
    AppendBytes(strtod(text.c_str(), &end), raw);
  } else if (datatype == "INT64") {
    AppendBytes(static_cast<int64_t>(strtoll(text.c_str(), &end, 10)), raw);
    if (errno == ERANGE) end = nullptr;
  } else {
    return absl::InvalidArgumentError(absl::StrCat(what, ": ", Unknown(datatype).message()));
  }
  if (text.empty() || end != text.c_str() + text.size()) {
    return absl::InvalidArgumentError(absl::StrCat(what, ": '", text, "' is no ", datatype));
  }
  return absl::OkStatus();
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
  if (datatype == "BYTES") return std::string(bytes->substr(sizeof(uint32_t)));
  if (datatype == "FP32") return NumberText<float>(*bytes);
  if (datatype == "FP64") return NumberText<double>(*bytes);
  if (datatype == "INT64") return NumberText<int64_t>(*bytes);
  return Unknown(datatype);
}

}  // namespace millrace
