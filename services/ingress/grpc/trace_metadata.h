// A call's trace, in its metadata: `traceparent` and `tracestate`.
//
// Purpose: the client's trace out of a call's metadata, our span into the answer's. Who may call:
//   only the thread that polls the queue. Ownership: the entry's views live as long as the context.
// Invariants: 1. called only where the frontend traces: gRPC makes a map of the metadata for who
//   looks. Nothing fails: what is not valid is no trace.
#pragma once

#include <grpcpp/grpcpp.h>

#include "common/clock.h"
#include "services/ingress/frontend.h"

namespace millrace {

inline std::string_view FindMetadata(const grpc::ServerContext& context, std::string_view name) {
  const auto& metadata = context.client_metadata();
  const auto at = metadata.find(grpc::string_ref(name.data(), name.size()));
  if (at == metadata.end()) return {};
  return {at->second.data(), at->second.size()};
}

inline TraceEntry TraceOf(const grpc::ServerContext& context, TraceMethod method) {
  TraceEntry entry;
  entry.entered_ns = MonotonicNanos();
  entry.method = method;
  if (auto parent = ParseTraceParent(FindMetadata(context, kTraceParent))) {
    entry.parent = *parent;
    entry.state = FindMetadata(context, kTraceState);
  }
  return entry;
}

inline void TellTrace(const InferAnswer& answer, grpc::ServerContext* context) {
  if (!answer.trace.valid()) return;
  context->AddInitialMetadata(std::string(kTraceParent), FormatTraceParent(answer.trace));
  const std::string_view state = FindMetadata(*context, kTraceState);
  if (state.empty() || state.size() > kMaxTraceState) return;
  context->AddInitialMetadata(std::string(kTraceState), std::string(state));
}

}  // namespace millrace
