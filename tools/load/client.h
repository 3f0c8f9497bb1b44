// A client of the server, over gRPC or over HTTP, behind one face.
//
// Purpose: infer, verify and the load generator's first question do not care for the protocol.
// Who may call: one thread for each client. Ownership: a client owns its connection.
// Invariants: 1. an answer from Infer has one raw_output_contents for each output, over HTTP too
//   (its JSON holds every finite number exactly; null is NaN). 2. A call ends within the timeout.
// What fails: the server's status with its sentence; UNAVAILABLE without a connection;
//   INVALID_ARGUMENT for what the protocol cannot carry (over HTTP: infinities, text not in UTF-8).
#pragma once

#include <stdint.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/api/inference.pb.h"
#include "tools/load/identity.h"

namespace millrace {

class Client {
 public:
  virtual ~Client() = default;

  // `version` empty: the latest.
  virtual absl::StatusOr<inference::ModelMetadataResponse> Metadata(const std::string& model,
                                                                    const std::string& version) = 0;
  virtual absl::StatusOr<inference::ModelInferResponse> Infer(
      const inference::ModelInferRequest& request) = 0;
};

// `address`: host:port or unix:/path. Connects at the first call.
std::unique_ptr<Client> MakeGrpcClient(const std::string& address, int64_t timeout_ms,
                                       const Identity& identity = {});
std::unique_ptr<Client> MakeHttpClient(const std::string& address, int64_t timeout_ms,
                                       const Identity& identity = {});
// Over shared memory: asks for metadata alone.
std::unique_ptr<Client> MakeLocalClient(const std::string& address, int64_t timeout_ms);

}  // namespace millrace
