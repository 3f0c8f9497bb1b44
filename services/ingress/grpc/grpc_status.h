// absl's status as gRPC's, and messages on the wire. Who may call: any thread. Nothing is kept.
#pragma once

#include <google/protobuf/message_lite.h>
#include <grpcpp/grpcpp.h>

#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace millrace {

// Debian's Abseil has a string_view of its own, and its StrCat takes no other.
inline absl::string_view Abseil(std::string_view text) { return {text.data(), text.size()}; }

// The codes are the same numbers. A message is cut at 512 bytes (it may quote a client's names, and
// headers are limited).
grpc::Status ToGrpcStatus(const absl::Status& status);

// Parses `buffer` into `message`; INVALID_ARGUMENT where it is not a valid protobuf of that type.
absl::Status ParseMessage(grpc::ByteBuffer* buffer, google::protobuf::MessageLite* message);

}  // namespace millrace
