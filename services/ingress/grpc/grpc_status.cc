#include "services/ingress/grpc/grpc_status.h"

#include <grpcpp/support/proto_buffer_reader.h>

#include <string>

#include "absl/strings/string_view.h"

namespace millrace {
namespace {

constexpr size_t kMaxMessageBytes = 512;

// Never in the middle of a UTF-8 character.
std::string Shorten(absl::string_view text) {
  if (text.size() <= kMaxMessageBytes) return std::string(text);
  size_t end = kMaxMessageBytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return std::string(text.substr(0, end)) + "...";
}

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return grpc::Status(static_cast<grpc::StatusCode>(status.raw_code()), Shorten(status.message()));
}

absl::Status ParseMessage(grpc::ByteBuffer* buffer, google::protobuf::MessageLite* message) {
  bool parsed = false;
  if (buffer->Valid()) {
    grpc::ProtoBufferReader reader(buffer);
    parsed = reader.status().ok() && message->ParseFromZeroCopyStream(&reader);
  }
  if (parsed) return absl::OkStatus();
  return absl::InvalidArgumentError("the request is not a valid " + message->GetTypeName() +
                                    " message");
}

}  // namespace millrace
