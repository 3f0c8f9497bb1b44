// Where a request over gRPC goes.
//
// Purpose: what a route goes by, out of the message and of the call's metadata. Who may call: only
// the
//   thread that polls the queue. Invariants: 1. the metadata are looked at only where a route asks:
//   gRPC makes a map of them for who looks. Nothing fails.
#pragma once

#include <grpcpp/grpcpp.h>

#include <string_view>

#include "services/ingress/frontend.h"
#include "services/ingress/grpc/call_gate.h"
#include "services/ingress/grpc/infer_decoder.h"
#include "services/ingress/grpc/trace_metadata.h"

namespace millrace {

class MetadataOf final : public RequestHeaders {
 public:
  explicit MetadataOf(const grpc::ServerContext& context) : context_(context) {}
  std::string_view Find(std::string_view name) const override {
    return FindMetadata(context_, name);
  }

 private:
  const grpc::ServerContext& context_;
};

// Sets model, version and route of the decoded request.
inline void RouteCall(const Frontend& frontend, const grpc::ServerContext& context,
                      const CallGate& gate, InferDecoder* decoder) {
  InferRequest& request = decoder->request();
  const MetadataOf metadata(context);
  RouteQuestion question = {request.model, request.version};
  question.tenant = gate.owner();
  question.client_key = decoder->client_key();
  question.id = request.id;
  question.headers = &metadata;
  const Routed routed = frontend.Resolve(question);
  request.model = routed.model;
  request.version = routed.version;
  request.route = routed.use;
}

}  // namespace millrace
