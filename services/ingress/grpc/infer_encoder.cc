#include "services/ingress/grpc/infer_encoder.h"

#include <google/protobuf/io/coded_stream.h>
#include <grpc/slice.h>
#include <stdint.h>
#include <string.h>

#include <limits>

#include "common/check.h"

namespace millrace {
namespace {

using google::protobuf::io::CodedOutputStream;

// The key of raw_output_contents: field number and the wire type of length-delimited bytes.
constexpr uint32_t kRawKey = inference::ModelInferResponse::kRawOutputContentsFieldNumber << 3 | 2;
static_assert(kRawKey < 128, "the key is one byte");

size_t RawEntrySize(std::string_view raw) {
  return 1 + CodedOutputStream::VarintSize64(raw.size()) + raw.size();
}

}  // namespace

grpc::ByteBuffer InferEncoder::Encode(const InferAnswer& answer, std::string_view id) {
  head_.Clear();
  head_.mutable_model_name()->assign(answer.model);
  head_.mutable_model_version()->assign(answer.version);
  head_.mutable_id()->assign(id);
  size_t raw_size = 0;
  for (const TensorView& view : answer.outputs) {
    auto* output = head_.add_outputs();
    output->mutable_name()->assign(view.name);
    output->mutable_datatype()->assign(DataTypeName(view.datatype));
    for (const int64_t dim : view.shape) output->add_shape(dim);
    raw_size += RawEntrySize(view.raw);
  }
  const size_t head_size = head_.ByteSizeLong();
  MR_CHECK(raw_size < std::numeric_limits<int32_t>::max() / 2, "the lane bounds an answer's bytes");

  // Fields of a message may follow each other in any order, so the contents go behind the head.
  grpc_slice slice = grpc_slice_malloc(head_size + raw_size);
  uint8_t* out = head_.SerializeWithCachedSizesToArray(GRPC_SLICE_START_PTR(slice));
  for (const TensorView& view : answer.outputs) {
    out = CodedOutputStream::WriteTagToArray(kRawKey, out);
    out = CodedOutputStream::WriteVarint64ToArray(view.raw.size(), out);
    if (!view.raw.empty()) memcpy(out, view.raw.data(), view.raw.size());
    out += view.raw.size();
  }
  MR_CHECK(out == GRPC_SLICE_END_PTR(slice), "the reply is as long as was computed");
  const grpc::Slice owned(slice, grpc::Slice::STEAL_REF);
  return grpc::ByteBuffer(&owned, 1);
}

}  // namespace millrace
