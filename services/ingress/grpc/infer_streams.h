// The ModelStreamInfer calls: on each stream many requests in flight, answered as they are done.
//
// Purpose: carry each request of a stream through the frontend to its answer on the stream.
// Who may call: only the thread that polls the queue and the frontend.
// Ownership: borrows the frontend. Objects for streams and requests are made at first need and used
//   again; there are never more than were in use at one time.
// Invariants:
//   1. Each request that was read is answered once, by its result or by `error_message` with its
//      id, in order of completion; an error ends no stream. Only a stream that was cancelled, or
//      cut off, leaves requests without an answer.
//   2. At most `requests_per_stream` of a stream are with the frontend or not yet written. Then it
//      is not read further, and HTTP/2's flow control holds the client back.
//   3. A cancelled stream (its client left, or gave up at its deadline) leads to exactly one
//      Frontend::Cancel for each of its requests that is outstanding.
//   4. The stream's deadline is the deadline of each of its requests, where "timeout" is not
//   earlier.
//   5. A stream ends by OK after its client's last word and the last answer; by UNAVAILABLE after
//      Drain and the last answer.
//   6. Who may call is asked at the stream's start, and again for each request, which also counts
//      against its key's rate and quota; a refusal of the latter says when to come again
//      ("retry_pushback_ms").
//   7. After Close nothing is posted to the queue; a late Done is ignored.
// Nothing fails: what is wrong with a request is its answer.
#pragma once

#include <stddef.h>

#include <memory>
#include <string>
#include <vector>

#include "services/ingress/frontend.h"
#include "services/ingress/grpc/call_gate.h"
#include "services/ingress/grpc/infer_decoder.h"
#include "services/ingress/grpc/infer_encoder.h"
#include "services/ingress/grpc/message_limit.h"
#include "services/ingress/grpc/stream_call.h"

namespace millrace {

struct InferStreamsOptions {
  CallGate* gate = nullptr;                // borrowed, never null
  const ClientRegions* regions = nullptr;  // borrowed
  size_t streams = 0;                      // open at a time; one more is RESOURCE_EXHAUSTED
  size_t requests_per_stream = 0;
  int64_t retry_pushback_ms = 0;        // said with each UNAVAILABLE
  size_t max_message_bytes = SIZE_MAX;  // whatever the models
};

class InferStreams {
 public:
  InferStreams(Frontend* frontend, const InferStreamsOptions& options, RawStreamPost post);
  ~InferStreams();

  void Open() { pool_.Open(); }
  // Starts to write what was answered since the last call: once in each turn of the lane, so that
  // a batch's answers on a stream leave in one system call.
  void WriteAnswers();
  // Streams are read no further and end when their requests are answered.
  void Drain();
  void Stop() { pool_.Stop(); }
  // The queue is shutting down. What is still with the frontend is cancelled there.
  void Close();

  // Requests with the frontend or being written, and streams that are being finished.
  size_t in_flight() const { return requests_in_flight_ + pool_.finishing(); }

 private:
  class Stream;
  class Request;

  Request* Take(Stream* stream);
  void Give(Request* request);

  Frontend* const frontend_;
  CallGate* const gate_;
  const Scope scope_;
  const size_t requests_per_stream_;
  const int64_t retry_pushback_ms_;
  InferDecoder decoder_;
  MessageLimit limit_;
  InferEncoder encoder_;
  bool draining_ = false;
  size_t requests_in_flight_ = 0;
  std::vector<std::unique_ptr<Request>> requests_;
  std::vector<Request*> free_;
  std::vector<Stream*> streams_;   // all that were made; the pool's
  std::vector<Stream*> answered_;  // since the last WriteAnswers, each once
  StreamPool pool_;
};

}  // namespace millrace
