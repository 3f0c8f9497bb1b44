#include "services/ingress/grpc/infer_decoder.h"

#include <limits>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "services/ingress/grpc/grpc_status.h"
#include "services/ingress/grpc/typed_contents.h"

namespace millrace {
namespace {

using inference::InferParameter;
using Parameters = google::protobuf::Map<std::string, InferParameter>;

// A message above this size is not kept for the next request.
constexpr size_t kKeptWireBytes = 64 << 10;

// Parameters that ask for what this server does not do. To ignore one would be to answer another
// question than was asked. All other unknown parameters are ignored, as the protocol allows.
constexpr std::string_view kRefusedOfRequest[] = {"sequence_id", "sequence_start", "sequence_end"};
constexpr std::string_view kRefusedOfTensor[] = {"shared_memory_region", "classification"};

absl::Status RefuseParameters(const Parameters& parameters,
                              absl::Span<const std::string_view> refused) {
  for (const std::string_view name : refused) {
    if (!parameters.contains(name)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("parameters[\"", Abseil(name), "\"]: not supported by this server"));
  }
  return absl::OkStatus();
}

// A whole number that is not negative; clients send either of the two integer types.
std::optional<uint64_t> Whole(const InferParameter& parameter) {
  switch (parameter.parameter_choice_case()) {
    case InferParameter::kInt64Param:
      if (parameter.int64_param() < 0) return std::nullopt;
      return static_cast<uint64_t>(parameter.int64_param());
    case InferParameter::kUint64Param:
      return parameter.uint64_param();
    default:
      return std::nullopt;
  }
}

// `status` with the element's place and name before its message.
absl::Status At(absl::string_view list, int index, const std::string& name,
                const absl::Status& status) {
  return absl::Status(status.code(),
                      absl::StrCat(list, "[", index, "] \"", name, "\": ", status.message()));
}

}  // namespace

absl::Status InferDecoder::Decode(grpc::ByteBuffer* wire) {
  wire_bytes_ = wire->Length();
  request_ = InferRequest{};
  timeout_ns_ = 0;
  wants_final_ = false;
  absl::Status status = ParseMessage(wire, message_.get());
  wire->Clear();
  if (status.ok() && message_->model_name().empty()) {
    status = absl::InvalidArgumentError("model_name: is empty");
  }
  if (status.ok()) status = DecodeParameters();
  if (status.ok()) status = DecodeInputs();
  if (status.ok()) status = DecodeOutputs();
  if (!status.ok()) return status;
  request_.model = message_->model_name();
  request_.version = message_->model_version();
  request_.inputs = inputs_;
  request_.outputs = outputs_;
  return status;
}

void InferDecoder::Release() {
  if (wire_bytes_ <= kKeptWireBytes) return;
  wire_bytes_ = 0;
  request_ = InferRequest{};
  message_ = std::make_unique<inference::ModelInferRequest>();
  inputs_ = {};
  typed_ = {};
  outputs_ = {};
}

absl::Status InferDecoder::DecodeParameters() {
  const Parameters& parameters = message_->parameters();
  if (parameters.empty()) return absl::OkStatus();
  if (absl::Status status = RefuseParameters(parameters, kRefusedOfRequest); !status.ok()) {
    return status;
  }
  if (const auto found = parameters.find("triton_enable_empty_final_response");
      found != parameters.end()) {
    wants_final_ = found->second.bool_param();
  }
  if (const auto found = parameters.find("timeout"); found != parameters.end()) {
    const std::optional<uint64_t> timeout_us = Whole(found->second);
    if (!timeout_us) {
      return absl::InvalidArgumentError(
          "parameters[\"timeout\"]: must be a whole number of microseconds, 0 or more");
    }
    // Centuries are as good as no timeout, and their nanoseconds would not fit.
    constexpr uint64_t kMaxMicros = std::numeric_limits<int64_t>::max() / kNanosPerMicro / 2;
    timeout_ns_ = *timeout_us <= kMaxMicros ? *timeout_us * kNanosPerMicro : 0;
  }
  if (const auto found = parameters.find("priority"); found != parameters.end()) {
    const std::optional<uint64_t> priority = Whole(found->second);
    if (!priority || *priority > std::numeric_limits<uint32_t>::max()) {
      return absl::InvalidArgumentError(
          "parameters[\"priority\"]: must be a whole number of 32 bits, 0 or more");
    }
    request_.priority = static_cast<uint32_t>(*priority);
  }
  return absl::OkStatus();
}

absl::Status InferDecoder::DecodeInputs() {
  const int count = message_->inputs_size();
  const int raw_count = message_->raw_input_contents_size();
  if (raw_count != 0 && raw_count != count) {
    return absl::InvalidArgumentError(
        absl::StrCat("raw_input_contents: has ", raw_count, " entries for ", count, " inputs"));
  }
  inputs_.clear();
  // Views point into these strings: they are all made before the first view is.
  if (raw_count == 0 && typed_.size() < static_cast<size_t>(count)) typed_.resize(count);
  for (int i = 0; i < count; ++i) {
    const auto& input = message_->inputs(i);
    const auto fail = [&](const absl::Status& status) {
      return At("inputs", i, input.name(), status);
    };
    const std::optional<DataType> datatype = ParseDataType(input.datatype());
    if (!datatype) {
      return fail(absl::InvalidArgumentError(
          absl::StrCat("datatype \"", input.datatype(), "\" is not one of the protocol's")));
    }
    if (!input.parameters().empty()) {
      const absl::Status status = RefuseParameters(input.parameters(), kRefusedOfTensor);
      if (!status.ok()) return fail(status);
    }
    std::string_view raw;
    if (raw_count != 0) {
      if (input.has_contents()) {
        return fail(absl::InvalidArgumentError(
            "contents: must not be set together with raw_input_contents"));
      }
      raw = message_->raw_input_contents(i);
    } else {
      const absl::Status status = ContentsToRaw(input.contents(), *datatype, &typed_[i]);
      if (!status.ok()) return fail(status);
      raw = typed_[i];
    }
    inputs_.push_back({input.name(), *datatype,
                       absl::MakeConstSpan(input.shape().data(), input.shape_size()), raw});
  }
  return absl::OkStatus();
}

absl::Status InferDecoder::DecodeOutputs() {
  outputs_.clear();
  for (int i = 0; i < message_->outputs_size(); ++i) {
    const auto& output = message_->outputs(i);
    if (!output.parameters().empty()) {
      const absl::Status status = RefuseParameters(output.parameters(), kRefusedOfTensor);
      if (!status.ok()) return At("outputs", i, output.name(), status);
    }
    outputs_.push_back(output.name());
  }
  return absl::OkStatus();
}

}  // namespace millrace
