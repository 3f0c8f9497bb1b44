// The most bytes that a ModelInferRequest may have by now.
//
// Purpose: gRPC's own limit of a message is set once, when the server starts; this one follows the
//   models that are live, so that a message that none of them can take is not even parsed (its
//   bytes are here already: gRPC's own limit bounds those).
// Who may call: one thread, the frontend's. Nothing fails.
#pragma once

#include <grpcpp/grpcpp.h>
#include <stdint.h>

#include "services/ingress/frontend.h"
#include "services/ingress/request_size.h"

namespace millrace {

class MessageLimit {
 public:
  // `most`: whatever the models.
  MessageLimit(const Frontend* frontend, size_t most) : frontend_(frontend), largest_(most) {}

  size_t Of(const grpc::ByteBuffer& message) {
    // The usual message needs no look at the catalog.
    if (message.Length() <= kSmallRequestBytes) return SIZE_MAX;
    return largest_.Bytes(frontend_->catalog());
  }

 private:
  const Frontend* const frontend_;
  LargestMessage largest_;
};

}  // namespace millrace
