#include "tools/load/generate.h"

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/datatype.h"

namespace millrace {
namespace {

using inference::ModelMetadataResponse;

constexpr int64_t kMaxRequestBytes = int64_t{1} << 30;
constexpr int64_t kMaxSetBytes = int64_t{256} << 20;

struct Input {
  std::string name, datatype;
  DataType type = DataType::kInvalid;
  std::vector<int64_t> shape;
  int64_t elements = 1;
  int64_t bytes = 0;
};

absl::Status Fault(const Input& input, const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat("input ", input.name, ": ", why));
}

// The asked shape, or the metadata's with its open first dimension closed.
absl::Status ChooseShape(const ModelMetadataResponse::TensorMetadata& spec,
                         const GenerateOptions& options, Input* input) {
  const std::vector<int64_t> takes(spec.shape().begin(), spec.shape().end());
  const std::string says = absl::StrCat("[", absl::StrJoin(takes, ", "), "]");
  input->shape = takes;
  if (const auto asked = options.shapes.find(spec.name()); asked != options.shapes.end()) {
    input->shape = asked->second;
    bool fits = input->shape.size() == takes.size();
    for (size_t d = 0; fits && d < takes.size(); ++d) {
      fits = input->shape[d] >= 0 && (takes[d] < 0 || takes[d] == input->shape[d]);
    }
    if (!fits) return Fault(*input, absl::StrCat("the shape does not fit ", says));
  } else if (!takes.empty() && takes[0] < 0) {
    input->shape[0] = options.rows;
  }
  for (const int64_t dim : input->shape) {
    if (dim < 0) return Fault(*input, absl::StrCat("shape ", says, " is open: give --shape"));
    const bool over = __builtin_mul_overflow(input->elements, dim, &input->elements);
    if (over || input->elements > kMaxRequestBytes) return Fault(*input, "more than 1 GiB");
  }
  return absl::OkStatus();
}

absl::StatusOr<Input> Plan(const ModelMetadataResponse::TensorMetadata& spec,
                           const GenerateOptions& options) {
  Input input;
  input.name = spec.name();
  input.datatype = spec.datatype();
  input.type = ParseDataType(spec.datatype()).value_or(DataType::kInvalid);
  if (input.type == DataType::kInvalid) {
    return Fault(input, absl::StrCat("datatype '", spec.datatype(), "' is not the protocol's"));
  }
  if (absl::Status s = ChooseShape(spec, options, &input); !s.ok()) return s;
  const int64_t each = input.type == DataType::kBytes
                           ? static_cast<int64_t>(sizeof(uint32_t) + options.text_bytes)
                           : static_cast<int64_t>(DataTypeSize(input.type));
  const bool over = __builtin_mul_overflow(input.elements, each, &input.bytes);
  if (over || input.bytes > kMaxRequestBytes) return Fault(input, "more than 1 GiB");
  return input;
}

template <typename T>
void AppendBytes(T value, std::string* raw) {
  raw->append(reinterpret_cast<const char*>(&value), sizeof value);
}

float Unit(uint64_t random) { return static_cast<float>(random >> 40) * 0x1p-24F; }

// The low bytes of an integer below 100 are the integer in every width.
void AppendRandom(const Input& input, size_t text_bytes, std::mt19937_64* random,
                  std::string* raw) {
  const uint64_t bits = (*random)();
  const uint64_t small = bits % 100;
  switch (input.type) {
    case DataType::kFp32:
      return AppendBytes(Unit(bits), raw);
    case DataType::kFp64:
      return AppendBytes(static_cast<double>(bits >> 11) * 0x1p-53, raw);
    case DataType::kFp16:  // exponent of [0.5, 1), any mantissa
      return AppendBytes(static_cast<uint16_t>(0x3800 | (bits & 0x3FF)), raw);
    case DataType::kBf16:
      return AppendBytes(static_cast<uint16_t>(0x3F00 | (bits & 0x7F)), raw);
    case DataType::kBool:
      return AppendBytes(static_cast<uint8_t>(bits & 1), raw);
    case DataType::kBytes:
      AppendBytes(static_cast<uint32_t>(text_bytes), raw);
      for (size_t i = 0; i < text_bytes; ++i)
        raw->push_back(static_cast<char>('a' + (*random)() % 26));
      return;
    default:
      raw->append(reinterpret_cast<const char*>(&small), DataTypeSize(input.type));
  }
}

GoldenRequest MakeRequest(const std::string& model, const std::vector<Input>& inputs,
                          size_t text_bytes, std::mt19937_64* random) {
  GoldenRequest made;
  made.request.set_model_name(model);
  for (const Input& input : inputs) {
    auto* tensor = made.request.add_inputs();
    tensor->set_name(input.name);
    tensor->set_datatype(input.datatype);
    for (const int64_t dim : input.shape) tensor->add_shape(dim);
    std::string* raw = made.request.add_raw_input_contents();
    raw->reserve(static_cast<size_t>(input.bytes));
    for (int64_t e = 0; e < input.elements; ++e) AppendRandom(input, text_bytes, random, raw);
  }
  return made;
}

}  // namespace

absl::StatusOr<GoldenSet> GenerateRequests(const ModelMetadataResponse& metadata,
                                           const GenerateOptions& options) {
  std::vector<Input> inputs;
  int64_t bytes = 0;
  size_t shapes_used = 0;
  for (const auto& spec : metadata.inputs()) {
    absl::StatusOr<Input> input = Plan(spec, options);
    if (!input.ok()) return input.status();
    bytes += input->bytes;
    if (bytes > kMaxRequestBytes) return Fault(*input, "more than 1 GiB with those before it");
    shapes_used += options.shapes.count(spec.name());
    inputs.push_back(std::move(*input));
  }
  if (inputs.empty()) return absl::InvalidArgumentError("the model has no inputs to make up");
  if (shapes_used != options.shapes.size()) {
    return absl::InvalidArgumentError("--shape names an input that the model does not have");
  }
  GoldenSet set;
  for (const auto& output : metadata.outputs()) {
    set.output_names.push_back(output.name());
    set.output_types.push_back(output.datatype());
  }
  const int64_t most = std::max<int64_t>(1, kMaxSetBytes / std::max<int64_t>(1, bytes));
  const int64_t count = std::clamp<int64_t>(options.distinct, 1, most);
  std::mt19937_64 random(options.seed);
  for (int64_t i = 0; i < count; ++i) {
    set.requests.push_back(MakeRequest(metadata.name(), inputs, options.text_bytes, &random));
  }
  return set;
}

}  // namespace millrace
