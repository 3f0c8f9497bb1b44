#include "services/ingress/grpc/infer_encoder.h"

#include <google/protobuf/io/coded_stream.h>
#include <grpc/slice.h>
#include <stdint.h>
#include <string.h>

#include <algorithm>
#include <limits>
#include <string>

#include "common/check.h"
#include "services/ingress/grpc/grpc_status.h"

namespace millrace {
namespace {

using google::protobuf::io::CodedOutputStream;

// The key of raw_output_contents: field number and the wire type of length-delimited bytes.
constexpr uint32_t kRawKey = inference::ModelInferResponse::kRawOutputContentsFieldNumber << 3 | 2;
static_assert(kRawKey < 128, "the key is one byte");

size_t RawEntrySize(std::string_view raw) {
  return 1 + CodedOutputStream::VarintSize64(raw.size()) + raw.size();
}

// The key of infer_response in ModelStreamInferResponse.
constexpr uint32_t kStreamedKey =
    inference::ModelStreamInferResponse::kInferResponseFieldNumber << 3 | 2;
static_assert(kStreamedKey < 128, "the key is one byte");

// The parameter "triton_final_response" as bytes: fields of a message may follow in any order.
const std::string& FinalParameter() {
  static const std::string bytes = [] {
    inference::ModelInferResponse response;
    (*response.mutable_parameters())["triton_final_response"].set_bool_param(true);
    return response.SerializeAsString();
  }();
  return bytes;
}

grpc::ByteBuffer Own(grpc_slice slice) {
  const grpc::Slice owned(slice, grpc::Slice::STEAL_REF);
  return grpc::ByteBuffer(&owned, 1);
}

}  // namespace

InferAnswer InferEncoder::Place(const InferAnswer& answer, std::vector<OutputPlace>* places) {
  InferAnswer placed = answer;
  if (!answer.status.ok()) return placed;
  placed.status = WriteOutputs(answer, places, &rest_);
  placed.outputs = rest_;
  return placed;
}

size_t InferEncoder::SetHead(const InferAnswer& answer, std::string_view id,
                             absl::Span<const OutputPlace> places) {
  head_.Clear();
  head_.mutable_model_name()->assign(answer.model);
  head_.mutable_model_version()->assign(answer.version);
  head_.mutable_id()->assign(id);
  if (!answer.fallback.empty()) {
    (*head_.mutable_parameters())["millrace_fallback"].set_string_param(
        std::string(answer.fallback));
  }
  size_t raw_size = 0;
  for (const TensorView& view : answer.outputs) {
    auto* output = head_.add_outputs();
    output->mutable_name()->assign(view.name);
    output->mutable_datatype()->assign(DataTypeName(view.datatype));
    for (const int64_t dim : view.shape) output->add_shape(dim);
    raw_size += RawEntrySize(view.raw);
  }
  for (const OutputPlace& place : places) {
    auto& parameters = *head_.mutable_outputs(static_cast<int>(place.output))->mutable_parameters();
    parameters["shared_memory_region"].set_string_param(place.place.region_name());
    parameters["shared_memory_byte_size"].set_int64_param(static_cast<int64_t>(place.written));
    if (place.place.offset() == 0) continue;
    parameters["shared_memory_offset"].set_int64_param(static_cast<int64_t>(place.place.offset()));
  }
  MR_CHECK(raw_size < std::numeric_limits<int32_t>::max() / 2, "the lane bounds an answer's bytes");
  return raw_size;
}

// Fields of a message may follow each other in any order, so the contents go behind the head.
uint8_t* InferEncoder::WriteHeadAndRaw(const InferAnswer& answer, uint8_t* out) {
  out = head_.SerializeWithCachedSizesToArray(out);
  for (const TensorView& view : answer.outputs) {
    out = CodedOutputStream::WriteTagToArray(kRawKey, out);
    out = CodedOutputStream::WriteVarint64ToArray(view.raw.size(), out);
    if (!view.raw.empty()) memcpy(out, view.raw.data(), view.raw.size());
    out += view.raw.size();
  }
  return out;
}

grpc::ByteBuffer InferEncoder::Encode(const InferAnswer& answer, std::string_view id,
                                      absl::Span<const OutputPlace> places) {
  const size_t raw_size = SetHead(answer, id, places);
  grpc_slice slice = grpc_slice_malloc(head_.ByteSizeLong() + raw_size);
  const uint8_t* const end = WriteHeadAndRaw(answer, GRPC_SLICE_START_PTR(slice));
  MR_CHECK(end == GRPC_SLICE_END_PTR(slice), "the reply is as long as was computed");
  return Own(slice);
}

grpc::ByteBuffer InferEncoder::EncodeStreamed(const InferAnswer& answer, std::string_view id,
                                              bool say_final,
                                              absl::Span<const OutputPlace> places) {
  const size_t raw_size = SetHead(answer, id, places);
  const std::string_view final_bytes = say_final ? FinalParameter() : std::string_view();
  const size_t size = head_.ByteSizeLong() + raw_size + final_bytes.size();
  grpc_slice slice = grpc_slice_malloc(1 + CodedOutputStream::VarintSize64(size) + size);
  uint8_t* out = CodedOutputStream::WriteTagToArray(kStreamedKey, GRPC_SLICE_START_PTR(slice));
  out = CodedOutputStream::WriteVarint64ToArray(size, out);
  out = std::copy(final_bytes.begin(), final_bytes.end(), out);
  out = WriteHeadAndRaw(answer, out);
  MR_CHECK(out == GRPC_SLICE_END_PTR(slice), "the reply is as long as was computed");
  return Own(slice);
}

grpc::ByteBuffer InferEncoder::EncodeStreamError(const absl::Status& status, std::string_view id,
                                                 int64_t retry_pushback_ms) {
  const std::string message = ToGrpcStatus(status).error_message();
  // An empty one would say that all is well.
  error_.set_error_message(message.empty() ? absl::StatusCodeToString(status.code()) : message);
  inference::ModelInferResponse* response = error_.mutable_infer_response();
  response->mutable_id()->assign(id);
  auto& parameters = *response->mutable_parameters();
  parameters.clear();
  parameters["status"].set_string_param(absl::StatusCodeToString(status.code()));
  const bool may_retry = absl::IsUnavailable(status) || absl::IsResourceExhausted(status);
  if (may_retry && retry_pushback_ms > 0) {
    parameters["retry_pushback_ms"].set_int64_param(retry_pushback_ms);
  }
  const size_t size = error_.ByteSizeLong();
  grpc_slice slice = grpc_slice_malloc(size);
  error_.SerializeWithCachedSizesToArray(GRPC_SLICE_START_PTR(slice));
  return Own(slice);
}

}  // namespace millrace
