// An answer to the bytes of a ModelInferResponse.
//
// Purpose: the tensors go from where they lie, often a peer's memory, into the reply in one copy.
// Who may call: one thread; one object serves all calls. Nothing fails.
// Invariants: 1. each output's bytes are read once. 2. raw_output_contents has one entry for each
//   output, in order, also for an empty one. 3. The head's storage is reused.
#pragma once

#include <grpcpp/grpcpp.h>

#include <string_view>

#include "common/api/inference.pb.h"
#include "services/ingress/frontend.h"

namespace millrace {

class InferEncoder {
 public:
  // `answer.status` is OK. `id` is the request's.
  grpc::ByteBuffer Encode(const InferAnswer& answer, std::string_view id);

 private:
  inference::ModelInferResponse head_;  // all of the response but the raw contents
};

}  // namespace millrace
