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
constexpr std::string_view kRefusedOfInput[] = {"classification"};

constexpr char kClassification[] = "classification";
constexpr char kRegion[] = "shared_memory_region";

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

// Where a tensor with the parameter kRegion lies.
struct RegionParameters {
  std::string_view region;
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

absl::StatusOr<RegionParameters> ReadRegionParameters(const Parameters& parameters) {
  RegionParameters out;
  const InferParameter& region = parameters.at(kRegion);
  if (region.parameter_choice_case() != InferParameter::kStringParam) {
    return absl::InvalidArgumentError(absl::StrCat(kRegion, ": must be a string"));
  }
  out.region = region.string_param();
  const std::pair<const char*, uint64_t*> numbers[] = {{"shared_memory_byte_size", &out.bytes},
                                                       {"shared_memory_offset", &out.offset}};
  for (const auto& [name, number] : numbers) {
    const auto found = parameters.find(name);
    if (found == parameters.end() && number == &out.offset) continue;
    const std::optional<uint64_t> value =
        found == parameters.end() ? std::nullopt : Whole(found->second);
    if (!value) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": must be a whole number of bytes, 0 or more"));
    }
    *number = *value;
  }
  return out;
}

bool IsInRegion(const Parameters& parameters) {
  return !parameters.empty() && parameters.contains(kRegion);
}

absl::Status NoRegions() {
  return absl::UnimplementedError(absl::StrCat(kRegion, ": not supported by this server"));
}

// `status` with the element's place and name before its message.
absl::Status At(absl::string_view list, int index, const std::string& name,
                const absl::Status& status) {
  return absl::Status(status.code(),
                      absl::StrCat(list, "[", index, "] \"", name, "\": ", status.message()));
}

}  // namespace

absl::Status InferDecoder::Decode(grpc::ByteBuffer* wire, size_t most_bytes) {
  wire_bytes_ = wire->Length();
  request_ = InferRequest{};
  timeout_ns_ = 0;
  client_key_ = {};
  wants_final_ = false;
  region_bytes_ = 0;
  absl::Status status;
  if (wire_bytes_ <= most_bytes) {
    status = ParseMessage(wire, message_.get());
  } else {
    message_->Clear();  // it has no id
    status = absl::ResourceExhaustedError(absl::StrCat("the message of ", wire_bytes_,
                                                       " bytes is over the limit of ", most_bytes,
                                                       ", the most that any model here takes"));
  }
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
  request_.id = message_->id();
  request_.inputs = inputs_;
  request_.outputs = outputs_;
  return status;
}

void InferDecoder::Release() {
  output_places_.clear();
  classes_.Clear();
  if (wire_bytes_ <= kKeptWireBytes && region_bytes_ <= kKeptWireBytes) return;
  wire_bytes_ = 0;
  request_ = InferRequest{};
  client_key_ = {};
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
  if (const auto found = parameters.find("millrace-client-key"); found != parameters.end()) {
    client_key_ = found->second.string_param();
  }
  if (const auto found = parameters.find("millrace_fault"); found != parameters.end()) {
    request_.fault = found->second.string_param();
  }
  return absl::OkStatus();
}

absl::Status InferDecoder::DecodeInputs() {
  const int count = message_->inputs_size();
  const int raw_count = message_->raw_input_contents_size();
  int in_regions = 0;
  for (const auto& input : message_->inputs()) in_regions += IsInRegion(input.parameters());
  if (raw_count != 0 && raw_count != count - in_regions) {
    return absl::InvalidArgumentError(absl::StrCat("raw_input_contents: has ", raw_count,
                                                   " entries for ", count - in_regions, " inputs"));
  }
  inputs_.clear();
  // Views point into these strings: they are all made before the first view is.
  const bool own_bytes = raw_count == 0 || in_regions != 0;
  if (own_bytes && typed_.size() < static_cast<size_t>(count)) typed_.resize(count);
  int raw_entry = 0;
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
      const absl::Status status = RefuseParameters(input.parameters(), kRefusedOfInput);
      if (!status.ok()) return fail(status);
    }
    const absl::StatusOr<std::string_view> raw = RawOf(i, *datatype, &raw_entry);
    if (!raw.ok()) return fail(raw.status());
    inputs_.push_back({input.name(), *datatype,
                       absl::MakeConstSpan(input.shape().data(), input.shape_size()), *raw});
  }
  return absl::OkStatus();
}

// The bytes of one input, from wherever they are. `raw_entry`: the next of the raw ones.
absl::StatusOr<std::string_view> InferDecoder::RawOf(int index, DataType datatype, int* raw_entry) {
  const auto& input = message_->inputs(index);
  if (IsInRegion(input.parameters())) {
    if (input.has_contents()) {
      return absl::InvalidArgumentError(
          "contents: must not be set together with shared_memory_region");
    }
    return ReadRegion(input.parameters(), &typed_[index]);
  }
  if (message_->raw_input_contents_size() != 0) {
    if (input.has_contents()) {
      return absl::InvalidArgumentError(
          "contents: must not be set together with raw_input_contents");
    }
    return message_->raw_input_contents((*raw_entry)++);
  }
  const absl::Status status = ContentsToRaw(input.contents(), datatype, &typed_[index]);
  if (!status.ok()) return status;
  return typed_[index];
}

absl::StatusOr<std::string_view> InferDecoder::ReadRegion(const Parameters& parameters,
                                                          std::string* bytes) {
  if (regions_ == nullptr) return NoRegions();
  const absl::StatusOr<RegionParameters> place = ReadRegionParameters(parameters);
  if (!place.ok()) return place.status();
  bytes->clear();
  const absl::Status status =
      regions_->ReadInput(place->region, place->offset, place->bytes, &region_bytes_, bytes);
  if (!status.ok()) return status;
  return *bytes;
}

absl::StatusOr<RegionPlace> InferDecoder::FindRegion(const Parameters& parameters) const {
  if (regions_ == nullptr) return NoRegions();
  const absl::StatusOr<RegionParameters> place = ReadRegionParameters(parameters);
  if (!place.ok()) return place.status();
  return regions_->Find(place->region, place->offset, place->bytes);
}

absl::Status InferDecoder::DecodeOutputs() {
  outputs_.clear();
  output_places_.clear();
  classes_.Clear();
  for (int i = 0; i < message_->outputs_size(); ++i) {
    const auto& output = message_->outputs(i);
    outputs_.push_back(output.name());
    if (output.parameters().empty()) continue;
    if (absl::Status status = DecodeOutput(i); !status.ok()) {
      return At("outputs", i, output.name(), status);
    }
  }
  return absl::OkStatus();
}

absl::Status InferDecoder::DecodeOutput(int index) {
  const Parameters& parameters = message_->outputs(index).parameters();
  const auto classes = parameters.find(kClassification);
  if (classes != parameters.end()) {
    const std::optional<uint64_t> k = Whole(classes->second);
    if (!k || *k == 0) {
      return absl::InvalidArgumentError(
          "parameters[\"classification\"]: must be a whole number of classes, 1 or more");
    }
    if (IsInRegion(parameters)) {
      return absl::InvalidArgumentError(
          "parameters[\"classification\"]: must not be set together with shared_memory_region");
    }
    classes_.Add(static_cast<size_t>(index), *k);
  }
  if (!IsInRegion(parameters)) return absl::OkStatus();
  absl::StatusOr<RegionPlace> place = FindRegion(parameters);
  if (!place.ok()) return place.status();
  output_places_.push_back({static_cast<size_t>(index), *std::move(place)});
  return absl::OkStatus();
}

absl::Status InferDecoder::BindClasses(std::shared_ptr<const Catalog> catalog,
                                       Classification* classes) const {
  size_t output = 0;
  const absl::Status status = classes->Bind(std::move(catalog), request_, &output);
  if (status.ok()) return status;
  return At("outputs", static_cast<int>(output), message_->outputs(static_cast<int>(output)).name(),
            absl::Status(status.code(),
                         absl::StrCat("parameters[\"classification\"]: ", status.message())));
}

}  // namespace millrace
