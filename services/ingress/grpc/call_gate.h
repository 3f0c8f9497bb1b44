// Who may call: the gate (access/access.h) as gRPC's calls ask it.
//
// Purpose: the key out of a call's metadata, `authorization: Bearer KEY` or `x-api-key: KEY`, and
//   the refusal as the call's status. Who may call: only the thread that polls the queue.
// Invariants: 1. where no key is asked for, the metadata are not looked at. 2. a refusal for rate
// or
//   quota says when to come again: grpc-retry-pushback-ms in the trailing metadata.
// What fails: with UNAUTHENTICATED, PERMISSION_DENIED or RESOURCE_EXHAUSTED and a sentence.
#pragma once

#include <grpcpp/grpcpp.h>
#include <stdint.h>

#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "services/ingress/access/access.h"

namespace millrace {

class CallGate {
 public:
  CallGate(std::shared_ptr<Keys> keys, Reach reach) : gate_(std::move(keys), reach) {}

  // One call that is one request.
  absl::Status Check(Scope scope, grpc::ServerContext* context);

  // A stream at its start, and each of its requests. `retry_after_ms` is set for what is refused
  // for rate or quota.
  absl::Status Admit(Scope scope, const grpc::ServerContext& context, Permit* permit);
  absl::Status Use(const Permit& permit, int64_t* retry_after_ms);
  // Whose key was let in last, by Check or Use; until either is called again.
  std::string_view owner() const { return owner_; }

 private:
  Gate gate_;
  std::string_view owner_;
};

}  // namespace millrace
