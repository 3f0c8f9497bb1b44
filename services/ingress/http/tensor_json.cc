#include "services/ingress/http/tensor_json.h"

#include <string.h>

#include <array>
#include <cmath>
#include <limits>
#include <type_traits>

#include "common/check.h"
#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

using Value = JsonReader::Value;
using Array = JsonReader::Array;

bool ReadElement(Value* value, double* out) { return ReadNumber(value, out); }

bool ReadElement(Value* value, float* out) {
  double wide;
  if (!ReadNumber(value, &wide)) return false;
  *out = static_cast<float>(wide);
  return std::isfinite(*out) || std::isnan(wide);
}

bool ReadElement(Value* value, bool* out) { return !value->get_bool().get(*out); }

template <typename T>
bool ReadElement(Value* value, T* out) {
  using Wide = std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>;
  Wide wide;
  if constexpr (std::is_signed_v<T>) {
    if (value->get_int64().get(wide)) return false;
  } else {
    if (value->get_uint64().get(wide)) return false;
  }
  *out = static_cast<T>(wide);
  return wide >= std::numeric_limits<T>::min() && wide <= std::numeric_limits<T>::max();
}

// Whether the array that `value` opens begins with another array. Looks at the text, since asking
// on-demand would consume the array; the text ends in '}', so the scan does too.
bool BeginsWithArray(Value* value) {
  const char* at = value->raw_json_token().data();
  do {
    ++at;
  } while (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t');
  return *at == '[';
}

class TensorRead {
 public:
  TensorRead(JsonReader* reader, const FieldPath& path, DataType type,
             absl::Span<const int64_t> shape, std::string* raw)
      : reader_(reader), path_(path), type_(type), shape_(shape), raw_(raw) {}

  absl::Status Level(Value value, size_t level);
  // `expected` elements in one array.
  absl::Status Leaf(Value value, size_t expected);

 private:
  template <typename T>
  absl::Status Numbers(Array array, size_t expected);
  absl::Status Strings(Array array, size_t expected);
  absl::Status ElementFaultAt(Value value, size_t last);
  absl::Status CountFault(size_t expected, bool more);
  // "inputs[0].data[3][17]": the levels above, then `last`.
  std::string Where(size_t last) const;

  JsonReader* reader_;
  const FieldPath& path_;
  DataType type_;
  absl::Span<const int64_t> shape_;
  std::string* raw_;
  std::array<size_t, kMaxRank> at_ = {};
  size_t levels_ = 0;
};

std::string TensorRead::Where(size_t last) const {
  std::string where = path_.ToString();
  for (size_t i = 0; i < levels_; ++i) Append(&where, "[", at_[i], "]");
  Append(&where, "[", last, "]");
  return where;
}

absl::Status TensorRead::ElementFaultAt(Value value, size_t last) {
  return ElementFault(value, type_, Where(last));
}

absl::Status TensorRead::CountFault(size_t expected, bool more) {
  std::string where = path_.ToString();
  for (size_t i = 0; i < levels_; ++i) Append(&where, "[", at_[i], "]");
  return BadInput(where, ": holds ", more ? "more" : "fewer", " than the ", expected,
                  " elements that shape ", ShapeText(shape_), " needs");
}

template <typename T>
absl::Status TensorRead::Numbers(Array array, size_t expected) {
  const size_t start = raw_->size();
  raw_->resize(start + expected * sizeof(T));
  size_t done = 0;
  for (auto element : array) {
    Value value;
    if (auto error = element.get(value)) return reader_->Broken(error);
    if (done == expected) return CountFault(expected, true);
    T number;
    if (!ReadElement(&value, &number)) return ElementFaultAt(value, done);
    memcpy(raw_->data() + start + done * sizeof(T), &number, sizeof(T));
    ++done;
  }
  return done == expected ? absl::OkStatus() : CountFault(expected, false);
}

absl::Status TensorRead::Strings(Array array, size_t expected) {
  size_t done = 0;
  for (auto element : array) {
    Value value;
    if (auto error = element.get(value)) return reader_->Broken(error);
    if (done == expected) return CountFault(expected, true);
    std::string_view text;
    bool null = false;
    if (value.get_string().get(text)) {
      if (value.is_null().get(null) || !null) return ElementFaultAt(value, done);
    }
    AppendBytesElement(text, raw_);
    ++done;
  }
  return done == expected ? absl::OkStatus() : CountFault(expected, false);
}

absl::Status TensorRead::Leaf(Value value, size_t expected) {
  Array array;
  if (absl::Status status = reader_->ReadArray(value, path_, &array); !status.ok()) return status;
  switch (type_) {
    case DataType::kBool:
      return Numbers<bool>(array, expected);
    case DataType::kUint8:
      return Numbers<uint8_t>(array, expected);
    case DataType::kUint16:
      return Numbers<uint16_t>(array, expected);
    case DataType::kUint32:
      return Numbers<uint32_t>(array, expected);
    case DataType::kUint64:
      return Numbers<uint64_t>(array, expected);
    case DataType::kInt8:
      return Numbers<int8_t>(array, expected);
    case DataType::kInt16:
      return Numbers<int16_t>(array, expected);
    case DataType::kInt32:
      return Numbers<int32_t>(array, expected);
    case DataType::kInt64:
      return Numbers<int64_t>(array, expected);
    case DataType::kFp32:
      return Numbers<float>(array, expected);
    case DataType::kFp64:
      return Numbers<double>(array, expected);
    case DataType::kBytes:
      return Strings(array, expected);
    case DataType::kFp16:
    case DataType::kBf16:
    case DataType::kInvalid:
      break;
  }
  return FieldFault(path_,
                    Concat(DataTypeName(type_), " has no JSON form; send it as a binary tensor"));
}

absl::Status TensorRead::Level(Value value, size_t level) {
  if (level + 1 == shape_.size()) return Leaf(value, static_cast<size_t>(shape_[level]));
  Array array;
  if (absl::Status status = reader_->ReadArray(value, path_, &array); !status.ok()) return status;
  const size_t expected = static_cast<size_t>(shape_[level]);
  size_t done = 0;
  for (auto element : array) {
    Value child;
    if (auto error = element.get(child)) return reader_->Broken(error);
    if (done == expected) return CountFault(expected, true);
    simdjson::ondemand::json_type type;
    if (auto error = child.type().get(type)) return reader_->Broken(error);
    if (type != simdjson::ondemand::json_type::array) {
      return BadInput(Where(done), ": must be an array: data is flat or nested as shape ",
                      ShapeText(shape_), " says");
    }
    at_[levels_++] = done;
    if (absl::Status status = Level(child, level + 1); !status.ok()) return status;
    --levels_;
    ++done;
  }
  return done == expected ? absl::OkStatus() : CountFault(expected, false);
}

}  // namespace

absl::Status CountElements(absl::Span<const int64_t> shape, const FieldPath& path, size_t* count) {
  constexpr uint64_t kMost = uint64_t{1} << 40;
  if (shape.empty() || shape.size() > kMaxRank) {
    return FieldFault(path, "must have 1 to 8 dimensions");
  }
  uint64_t product = 1;
  for (size_t i = 0; i < shape.size(); ++i) {
    const int64_t dim = shape[i];
    if (dim < 0) return FieldFault(path, Concat("dimension ", i, " must not be negative"));
    // Both are at most 2^40, or the product is refused: 80 bits.
    if (static_cast<uint64_t>(dim) > kMost || static_cast<__uint128_t>(product) * dim > kMost) {
      return FieldFault(path, "holds too many elements");
    }
    product *= static_cast<uint64_t>(dim);
  }
  *count = product;
  return absl::OkStatus();
}

absl::Status ReadTensor(JsonReader* reader, JsonReader::Value value, const FieldPath& path,
                        DataType type, absl::Span<const int64_t> shape, size_t count,
                        std::string* raw) {
  MR_CHECK(!shape.empty() && shape.size() <= kMaxRank, "the shape was counted before");
  simdjson::ondemand::json_type kind;
  if (auto error = value.type().get(kind)) return reader->Broken(error);
  if (kind != simdjson::ondemand::json_type::array) return FieldFault(path, "must be an array");
  TensorRead read(reader, path, type, shape, raw);
  if (shape.size() > 1 && BeginsWithArray(&value)) return read.Level(value, 0);
  return read.Leaf(value, count);
}

bool ReadNumber(JsonReader::Value* value, double* out) {
  if (!value->get_double().get(*out)) return true;
  bool null = false;
  if (value->is_null().get(null) || !null) return false;
  *out = std::numeric_limits<double>::quiet_NaN();
  return true;
}

void AppendBytesElement(std::string_view text, std::string* raw) {
  MR_CHECK(text.size() <= std::numeric_limits<uint32_t>::max(), "a body is far below 4 GiB");
  const uint32_t size = static_cast<uint32_t>(text.size());
  raw->append(reinterpret_cast<const char*>(&size), sizeof(size));
  raw->append(text);
}

absl::Status ElementFault(JsonReader::Value value, DataType type, const std::string& where) {
  const std::string_view token = value.raw_json_token();
  const char first = token.empty() ? ' ' : token[0];
  const bool number = first == '-' || (first >= '0' && first <= '9');
  std::string_view found = "something that is not JSON";
  if (token.substr(0, 4) == "null") {
    return BadInput(where, ": null (a missing value) has no ", DataTypeName(type),
                    " form; FP32 and FP64 do");
  }
  if (first == 'N' || first == 'I' || token.substr(0, 2) == "-I") {
    return BadInput(where, ": NaN and infinities are not JSON; send null for a missing value");
  }
  if (number && type != DataType::kBool && type != DataType::kBytes) {
    const bool real = type == DataType::kFp32 || type == DataType::kFp64;
    return BadInput(where, ": is not ", real ? "a number" : "an integer", " in the range of ",
                    DataTypeName(type));
  }
  if (number) found = "a number";
  if (first == '"') found = "a string";
  if (first == '[') found = "an array";
  if (first == '{') found = "an object";
  if (token.starts_with("true") || token.starts_with("false")) found = "true or false";
  std::string_view want = "a number";
  if (type == DataType::kBool) want = "true or false";
  if (type == DataType::kBytes) want = "a string";
  return BadInput(where, ": must be ", want, " (", DataTypeName(type), "), not ", found);
}

}  // namespace millrace::http
