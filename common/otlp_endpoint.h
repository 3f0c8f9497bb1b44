// Where traces are sent: "http://host:port/path" or "grpc://host:port".
//
// Purpose: the one reading of `tracing.otlp_endpoint`, for its check and for the exporter. Who may
//   call: any thread. Invariants:
//   1. An address that is given in numbers is of this machine or of a private network; what a name
//      stands for is checked when it is looked up, by IsPrivate.
// What fails: Parse, with a sentence.
#pragma once

#include <sys/socket.h>

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace millrace {

struct OtlpEndpoint {
  bool grpc = false;
  std::string host, port, path;

  // Without a port that of OTLP, without a path its.
  static absl::StatusOr<OtlpEndpoint> Parse(std::string_view text);
};

// Loopback, link-local, or of a private network (RFC 1918, RFC 4193).
bool IsPrivate(const sockaddr& address);

}  // namespace millrace
