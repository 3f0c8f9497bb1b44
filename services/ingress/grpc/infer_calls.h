// The ModelInfer calls: a fixed set of objects, of which some wait for clients.
//
// Purpose: carry each call from its arrival through the frontend to its reply, with objects that
//   are made once. Who may call: only the thread that polls the queue and the frontend.
// Ownership: borrows the frontend. An object is in one of four places: free, waiting (posted to
//   gRPC), with the frontend, finishing (its reply is being written).
// Invariants:
//   1. `waiting_calls` are waiting as long as free ones remain. The free list is last in, first
//      out, so that few objects are hot.
//   2. An object is free again only when gRPC has returned both its reply's event and its call's
//      end, and the frontend has called Done.
//   3. The frontend gets Cancel at most once for a request, and only before its Done.
//   4. After Close nothing is posted to the queue; a late Done is ignored.
// Nothing fails: what is wrong with a request is its reply.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "services/ingress/frontend.h"
#include "services/ingress/grpc/answer_cork.h"
#include "services/ingress/grpc/call_gate.h"
#include "services/ingress/grpc/infer_decoder.h"
#include "services/ingress/grpc/infer_encoder.h"
#include "services/ingress/grpc/message_limit.h"
#include "services/ingress/grpc/raw_services.h"

namespace millrace {

struct InferCallsOptions {
  CallGate* gate = nullptr;                // borrowed, never null
  AnswerCork* cork = nullptr;              // borrowed, never null
  const ClientRegions* regions = nullptr;  // borrowed
  size_t calls = 0;                        // objects in all
  size_t waiting_calls = 0;                // of them posted ahead
  int64_t retry_pushback_ms = 0;
  size_t max_message_bytes = SIZE_MAX;  // whatever the models
};

class InferCalls {
 public:
  InferCalls(Frontend* frontend, const InferCallsOptions& options, RawPost post);
  ~InferCalls();

  // Posts the first waiting calls.
  void Open();
  // New calls are answered UNAVAILABLE.
  void Drain() { draining_ = true; }
  // No call is waited for any more.
  void Stop() { stopping_ = true; }
  // The queue is shutting down. What is still with the frontend is cancelled there.
  void Close();

  size_t in_flight() const { return in_flight_; }

 private:
  class Call;

  void PostMore();
  void Arrived(Call* call);
  void Free(Call* call);

  Frontend* const frontend_;
  CallGate* const gate_;
  AnswerCork* const cork_;
  const Scope scope_;
  const size_t waiting_calls_;
  const std::string retry_pushback_;
  const RawPost post_;
  InferDecoder decoder_;
  MessageLimit limit_;
  InferEncoder encoder_;
  size_t waiting_ = 0;
  size_t in_flight_ = 0;  // with the frontend or finishing
  bool draining_ = false;
  bool stopping_ = false;
  bool closed_ = false;
  std::vector<std::unique_ptr<Call>> calls_;
  std::vector<Call*> free_;
};

}  // namespace millrace
