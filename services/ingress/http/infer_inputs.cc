#include "services/ingress/http/infer_inputs.h"

#include <string.h>

#include <limits>
#include <utility>

#include "common/check.h"
#include "services/ingress/http/infer_parser.h"
#include "services/ingress/http/json_writer.h"
#include "services/ingress/http/tensor_json.h"
#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

using Value = JsonReader::Value;
using Object = JsonReader::Object;
using Array = JsonReader::Array;

constexpr int64_t kMaxInt64 = std::numeric_limits<int64_t>::max();

enum Member : uint32_t { kName = 1, kShape = 2, kDatatype = 4, kData = 8, kParameters = 16 };

// Elements of a BYTES tensor, each u32 length + bytes: as many as the shape says, to the end.
bool BytesElementsFill(std::string_view raw, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    uint32_t size;
    if (raw.size() < sizeof(size)) return false;
    memcpy(&size, raw.data(), sizeof(size));
    raw.remove_prefix(sizeof(size));
    if (raw.size() < size) return false;
    raw.remove_prefix(size);
  }
  return raw.empty();
}

}  // namespace

bool ChangesTheResult(std::string_view key) {
  return key.starts_with("sequence_") || key.starts_with("shared_memory_") ||
         key == "classification";
}

absl::Status RegionParameters::Check(std::string_view list, size_t index) const {
  if (!region.has_value()) {
    return FieldFault({list, index, "parameters.shared_memory_region"}, "is missing");
  }
  if (bytes.has_value()) return absl::OkStatus();
  return FieldFault({list, index, "parameters.shared_memory_byte_size"}, "is missing");
}

absl::Status ReadRegionParameter(JsonReader* reader, Value value, std::string_view list,
                                 size_t index, std::string_view key, RegionParameters* out) {
  const std::string member = Concat("parameters.", key);
  const FieldPath path{list, index, member};
  if (key == "shared_memory_region") {
    std::string_view region;
    absl::Status status = reader->ReadString(value, path, &region);
    out->region = region;
    return status;
  }
  int64_t number = 0;
  absl::Status status = reader->ReadInt(value, path, 0, kMaxInt64, &number);
  if (!status.ok()) return status;
  if (key == "shared_memory_byte_size") {
    out->bytes = number;
  } else if (key == "shared_memory_offset") {
    out->offset = number;
  } else {
    return FieldFault(path, "is not supported");
  }
  return absl::OkStatus();
}

absl::Status RegionFault(const absl::Status& status, std::string_view list, size_t index) {
  return absl::Status(status.code(),
                      Abseil(Concat(list, "[", index, "].parameters.", Message(status))));
}

void InferInputs::Reset(size_t json_bytes) {
  json_bytes_ = json_bytes;
  raw_.clear();
  region_bytes_ = 0;
  count_ = 0;
  names_.clear();
}

absl::Status InferInputs::Read(Value value) {
  const FieldPath here{"", FieldPath::kNone, "inputs"};
  Array array;
  absl::Status status = reader_->ReadArray(value, here, &array);
  if (!status.ok()) return status;
  for (auto element : array) {
    const size_t index = count_;
    if (index == kMaxInputs) return FieldFault(here, Concat("more than ", kMaxInputs));
    if (auto error = element.get(value)) return reader_->Broken(error);
    Object object;
    status = reader_->ReadObject(value, {"inputs", index, ""}, &object);
    if (!status.ok()) return status;
    if (inputs_.size() == index) inputs_.emplace_back();
    std::vector<int64_t> shape = std::move(inputs_[index].shape);
    shape.clear();
    inputs_[index] = Input();
    inputs_[index].shape = std::move(shape);
    ++count_;
    status = ReadInput(object, index);
    if (!status.ok()) return status;
  }
  if (count_ == 0) return FieldFault(here, "must name at least one input");
  return absl::OkStatus();
}

absl::Status InferInputs::ReadInput(Object object, size_t index) {
  Input& input = inputs_[index];
  Once once;
  bool deferred = false;
  for (auto field : object) {
    std::string_view key;
    Value value;
    absl::Status status = reader_->ReadMember(field, &key, &value);
    if (!status.ok()) return status;
    if (key != "data") {
      status = ReadMember(key, value, index, &once);
    } else if (status = once.Take(kData, {"inputs", index, key}); status.ok()) {
      if (once.has(kShape) && once.has(kDatatype)) {
        status = ReadData(value, index);
      } else {
        deferred = true;  // the iteration passes over it; it is read below
      }
    }
    if (!status.ok()) return status;
  }
  if (absl::Status status = CheckInput(once, index); !status.ok()) return status;
  if (input.region.given()) return ReadRegion(index);
  input.has_data = once.has(kData);
  if (!deferred) return absl::OkStatus();
  // Once more from the start: datatype or shape came after the data. Only keys and the data are
  // looked at, so no string is unescaped twice.
  if (auto error = object.reset().error()) return reader_->Broken(error);
  Value value;
  if (object.find_field("data").get(value)) {
    return FieldFault({"inputs", index, "data"}, "must be spelt without escapes");
  }
  return ReadData(value, index);
}

absl::Status InferInputs::ReadMember(std::string_view key, Value value, size_t index, Once* once) {
  Input& input = inputs_[index];
  const FieldPath path{"inputs", index, key};
  absl::Status status;
  if (key == "name") {
    status = once->Take(kName, path);
    if (status.ok()) status = reader_->ReadString(value, path, &input.name);
  } else if (key == "datatype") {
    std::string_view name;
    status = once->Take(kDatatype, path);
    if (status.ok()) status = reader_->ReadString(value, path, &name);
    if (!status.ok()) return status;
    const std::optional<DataType> type = ParseDataType(name);
    if (!type.has_value()) {
      return FieldFault(path, Concat(Quoted(name), " is not a datatype of the protocol"));
    }
    input.datatype = *type;
  } else if (key == "shape") {
    status = once->Take(kShape, path);
    if (status.ok()) status = ReadShape(value, index);
  } else if (key == "parameters") {
    status = once->Take(kParameters, path);
    if (status.ok()) status = ReadParameters(value, index);
  } else {
    status = reader_->Skip(value, kElementMemberDepth);
  }
  return status;
}

absl::Status InferInputs::ReadShape(Value value, size_t index) {
  const FieldPath path{"inputs", index, "shape"};
  Array array;
  absl::Status status = reader_->ReadArray(value, path, &array);
  if (!status.ok()) return status;
  std::vector<int64_t>& shape = inputs_[index].shape;
  for (auto element : array) {
    if (auto error = element.get(value)) return reader_->Broken(error);
    if (shape.size() == kMaxRank) return FieldFault(path, "must have 1 to 8 dimensions");
    int64_t dim = 0;
    status = reader_->ReadInt(value, path, 0, kMaxInt64, &dim);
    if (!status.ok()) return status;
    shape.push_back(dim);
  }
  return CountElements(shape, path, &inputs_[index].count);
}

absl::Status InferInputs::ReadParameters(Value value, size_t index) {
  Object object;
  absl::Status status = reader_->ReadObject(value, {"inputs", index, "parameters"}, &object);
  if (!status.ok()) return status;
  for (auto field : object) {
    std::string_view key;
    status = reader_->ReadMember(field, &key, &value);
    if (!status.ok()) return status;
    if (key == "binary_data_size") {
      const FieldPath path{"inputs", index, "parameters.binary_data_size"};
      int64_t bytes = 0;
      status = reader_->ReadInt(value, path, 0, kMaxInt64, &bytes);
      if (status.ok() && inputs_[index].binary_bytes.has_value()) {
        status = FieldFault(path, "is given twice");
      }
      inputs_[index].binary_bytes = static_cast<size_t>(bytes);
    } else if (IsRegionParameter(key)) {
      status = ReadRegionParameter(reader_, value, "inputs", index, key, &inputs_[index].region);
    } else if (ChangesTheResult(key)) {
      status = FieldFault({"inputs", index, Concat("parameters.", key)}, "is not supported");
    } else {
      status = reader_->Skip(value, kParameterDepth);
    }
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status InferInputs::ReadData(Value value, size_t index) {
  Input& input = inputs_[index];
  if (input.count > MostElements(json_bytes_)) {
    return FieldFault({"inputs", index, "shape"}, "needs more elements than the body can hold");
  }
  input.begin = raw_.size();
  const FieldPath path{"inputs", index, "data"};
  absl::Status status =
      ReadTensor(reader_, value, path, input.datatype, input.shape, input.count, &raw_);
  input.bytes = raw_.size() - input.begin;
  return status;
}

absl::Status InferInputs::CheckInput(const Once& once, size_t index) {
  const Input& input = inputs_[index];
  if (!once.has(kName)) return FieldFault({"inputs", index, "name"}, "is missing");
  if (input.name.empty()) return FieldFault({"inputs", index, "name"}, "must not be empty");
  if (!once.has(kShape)) return FieldFault({"inputs", index, "shape"}, "is missing");
  if (!once.has(kDatatype)) return FieldFault({"inputs", index, "datatype"}, "is missing");
  if (once.has(kData) && input.binary_bytes.has_value()) {
    return FieldFault({"inputs", index, "data"}, "is given beside parameters.binary_data_size");
  }
  if (input.region.given() && (once.has(kData) || input.binary_bytes.has_value())) {
    return FieldFault({"inputs", index, once.has(kData) ? "data" : "parameters.binary_data_size"},
                      "is given beside parameters.shared_memory_region");
  }
  if (!once.has(kData) && !input.binary_bytes.has_value() && !input.region.given()) {
    return FieldFault({"inputs", index, "data"}, "is missing");
  }
  if (!names_.insert(input.name).second) {
    return FieldFault({"inputs", index, "name"}, Concat(Quoted(input.name), " is given twice"));
  }
  return absl::OkStatus();
}

absl::Status InferInputs::ReadRegion(size_t index) {
  Input& input = inputs_[index];
  const FieldPath path{"inputs", index, "parameters.shared_memory_byte_size"};
  if (absl::Status status = input.region.Check("inputs", index); !status.ok()) return status;
  if (regions_ == nullptr) {
    return RegionFault(absl::UnimplementedError("shared_memory_region: is not supported"), "inputs",
                       index);
  }
  const auto bytes = static_cast<size_t>(*input.region.bytes);
  const size_t width = DataTypeSize(input.datatype);
  if (width != 0 && (bytes % width != 0 || bytes / width != input.count)) {
    return FieldFault(path, Concat(bytes, " bytes are not the shape's ", input.count,
                                   " elements of ", DataTypeName(input.datatype)));
  }
  input.has_data = true;
  input.begin = raw_.size();
  input.bytes = bytes;
  absl::Status status =
      regions_->ReadInput(*input.region.region, static_cast<uint64_t>(input.region.offset), bytes,
                          &region_bytes_, &raw_);
  if (!status.ok()) return RegionFault(status, "inputs", index);
  // What is looked at is the copy: the client can change it no more.
  if (width == 0 && !BytesElementsFill(std::string_view(raw_).substr(input.begin), input.count)) {
    return FieldFault(path, Concat("the bytes are not the shape's ", input.count,
                                   " elements of a 4-byte length and as many bytes"));
  }
  return absl::OkStatus();
}

absl::Status InferInputs::PlaceBinary(std::string_view binary) {
  size_t taken = 0;
  for (size_t i = 0; i < count_; ++i) {
    Input& input = inputs_[i];
    if (!input.binary_bytes.has_value()) continue;
    const FieldPath path{"inputs", i, "parameters.binary_data_size"};
    const size_t bytes = *input.binary_bytes;
    if (bytes > binary.size() - taken) {
      return FieldFault(
          path, Concat(bytes, " bytes, but only ", binary.size() - taken, " are left of the body"));
    }
    const size_t width = DataTypeSize(input.datatype);
    if (width != 0 && (bytes % width != 0 || bytes / width != input.count)) {
      return FieldFault(path, Concat(bytes, " bytes are not the shape's ", input.count,
                                     " elements of ", DataTypeName(input.datatype)));
    }
    if (width == 0 && !BytesElementsFill(binary.substr(taken, bytes), input.count)) {
      return FieldFault(path, Concat("the bytes are not the shape's ", input.count,
                                     " elements of a 4-byte length and as many bytes"));
    }
    input.begin = taken;
    input.bytes = bytes;
    taken += bytes;
  }
  if (taken != binary.size()) {
    return BadInput("the body holds ", binary.size() - taken,
                    " bytes after the JSON that no input's binary_data_size claims");
  }
  return absl::OkStatus();
}

void InferInputs::HandOut(std::string_view binary, ParsedInfer* out) const {
  for (size_t i = 0; i < count_; ++i) {
    const Input& input = inputs_[i];
    const std::string_view store = input.has_data ? std::string_view(raw_) : binary;
    MR_CHECK(input.begin + input.bytes <= store.size(), "a tensor lies where it was put");
    out->inputs.push_back(
        {input.name, input.datatype, input.shape, store.substr(input.begin, input.bytes)});
  }
}

}  // namespace millrace::http
