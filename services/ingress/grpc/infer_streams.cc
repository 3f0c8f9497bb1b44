#include "services/ingress/grpc/infer_streams.h"

#include <utility>

#include "common/check.h"
#include "services/ingress/grpc/call_deadline.h"
#include "services/ingress/grpc/grpc_status.h"
#include "services/ingress/grpc/method_scopes.h"
#include "services/ingress/grpc/route_call.h"
#include "services/ingress/grpc/trace_metadata.h"

namespace millrace {
namespace {

// A longer id of a client is not kept in the object that carried it.
constexpr size_t kKeptIdBytes = 1 << 10;

}  // namespace

// One request of a stream: free, with the frontend, or answered and in its stream's queue.
class InferStreams::Request final : public Completion {
 public:
  explicit Request(InferStreams* owner) : owner_(owner) {}

  void Run(grpc::ByteBuffer* wire, int64_t stream_deadline_ns);
  void Done(const InferAnswer& answer) override;
  void CancelAtFrontend();

 private:
  friend class InferStreams;
  friend class Stream;

  void Reply(const InferAnswer& answer);

  InferStreams* const owner_;
  Stream* stream_ = nullptr;
  bool answered_ = false;
  RequestId request_id_ = 0;  // at the frontend; 0 when there is nothing to cancel
  size_t place_ = 0;          // among its stream's outstanding ones
  bool say_final_ = false;
  int64_t retry_after_ms_ = 0;       // of a key that is over its rate or quota
  std::string id_;                   // the client's
  std::vector<OutputPlace> places_;  // of outputs in shared memory
  Classification classes_;           // of outputs that are classified
  grpc::ByteBuffer reply_;
  Request* next_ = nullptr;  // in the queue of answers
};

class InferStreams::Stream final : public StreamCall {
 public:
  Stream(InferStreams* owner, StreamPool* pool) : StreamCall(pool), owner_(owner) {}

  // A request is answered: its reply waits to be written, or nobody waits for it any more.
  void Answered(Request* request);
  void CancelAll();

 protected:
  void OnArrived() override;
  void OnMessage(grpc::ByteBuffer* message) override;
  void OnHalfClosed() override;
  void OnWritten() override;
  void OnCancelled() override;
  void OnOver() override;
  void OnDrain() override { FinishIfIdle(); }

 private:
  friend class InferStreams;
  friend class Request;

  void ReadMore();
  void WriteNext();
  void FinishIfIdle();
  void Release(Request* request);

  InferStreams* const owner_;
  Permit permit_;
  int64_t deadline_ns_ = 0;
  TraceEntry trace_;  // of the stream: each of its requests is a child of the client's span
  bool half_closed_ = false;
  bool over_ = false;
  bool listed_ = false;                // among those that WriteAnswers will look at
  size_t held_ = 0;                    // outstanding, in the queue, being written
  std::vector<Request*> outstanding_;  // at the frontend
  Request* first_ = nullptr;           // the queue of answers
  Request* last_ = nullptr;
};

void InferStreams::Request::Run(grpc::ByteBuffer* wire, int64_t stream_deadline_ns) {
  InferDecoder& decoder = owner_->decoder_;
  const int64_t entered_ns = owner_->frontend_->Traces() ? MonotonicNanos() : 0;
  absl::Status status = decoder.Decode(wire, owner_->limit_.Of(*wire));
  retry_after_ms_ = 0;
  if (status.ok()) {
    status = owner_->gate_->Use(stream_->permit_, &retry_after_ms_);
    if (absl::IsResourceExhausted(status)) owner_->frontend_->CountQuotaRefusal();
  }
  if (status.ok()) RouteCall(*owner_->frontend_, stream_->context(), *owner_->gate_, &decoder);
  if (status.ok() && !decoder.classes().empty()) {
    std::swap(classes_, decoder.classes());
    status = decoder.BindClasses(owner_->frontend_->catalog(), &classes_);
  }
  id_.assign(decoder.id());
  say_final_ = decoder.wants_final();
  if (!status.ok()) {
    InferAnswer answer;
    answer.status = status;
    Done(answer);
  } else if (owner_->draining_) {
    InferAnswer answer;
    answer.status = absl::UnavailableError("the server is shutting down");
    Done(answer);
  } else {
    places_.swap(decoder.output_places());
    InferRequest& request = decoder.request();
    request.trace = stream_->trace_;
    request.trace.entered_ns = entered_ns;
    request.deadline_ns = RequestDeadlineNanos(stream_deadline_ns, decoder.timeout_ns());
    const RequestId id = owner_->frontend_->Infer(request, this);
    // Answered inside Infer: 0, and the object may be another request's already.
    if (id != 0) request_id_ = id;
  }
  decoder.Release();
}

void InferStreams::Request::Done(const InferAnswer& answer) {
  if (owner_->pool_.closed()) return;
  MR_CHECK(stream_ != nullptr && !answered_, "a request is answered once");
  answered_ = true;
  request_id_ = 0;
  // Nobody reads what a stream that ended would be sent.
  if (stream_->open()) {
    InferAnswer turned = answer;
    if (!classes_.empty()) turned = owner_->encoder_.Classify(turned, classes_);
    if (!places_.empty()) turned = owner_->encoder_.Place(turned, &places_);
    Reply(turned);
  }
  places_.clear();
  classes_.Clear();
  stream_->Answered(this);
}

void InferStreams::Request::Reply(const InferAnswer& answer) {
  grpc::ByteBuffer reply =
      answer.status.ok() ? owner_->encoder_.EncodeStreamed(answer, id_, say_final_, places_)
                         : owner_->encoder_.EncodeStreamError(
                               answer.status, id_,
                               answer.retry_after_ms > 0            ? answer.retry_after_ms
                               : absl::IsUnavailable(answer.status) ? owner_->retry_pushback_ms_
                                                                    : retry_after_ms_);
  reply_.Swap(&reply);  // to assign one is to copy it
}

void InferStreams::Request::CancelAtFrontend() {
  if (request_id_ == 0) return;
  // Done may come inside Cancel.
  owner_->frontend_->Cancel(std::exchange(request_id_, 0));
}

void InferStreams::Stream::OnArrived() {
  deadline_ns_ = DeadlineNanos(context());
  trace_ = TraceEntry();
  if (owner_->frontend_->Traces()) trace_ = TraceOf(context(), TraceMethod::kGrpcStream);
  half_closed_ = false;
  over_ = false;
  const absl::Status status = owner_->gate_->Admit(owner_->scope_, context(), &permit_);
  if (!status.ok()) return Finish(ToGrpcStatus(status));
  FinishIfIdle();  // of a server that drains
  ReadMore();
}

void InferStreams::Stream::OnMessage(grpc::ByteBuffer* message) {
  if (!open()) return message->Clear();
  Request* const request = owner_->Take(this);
  request->place_ = outstanding_.size();
  outstanding_.push_back(request);
  ++held_;
  request->Run(message, deadline_ns_);
  ReadMore();
}

void InferStreams::Stream::ReadMore() {
  if (!open() || reading() || half_closed_ || owner_->draining_) return;
  if (held_ < owner_->requests_per_stream_) Read();
}

void InferStreams::Stream::OnHalfClosed() {
  half_closed_ = true;
  FinishIfIdle();
}

void InferStreams::Stream::Answered(Request* request) {
  Request* const last = outstanding_.back();
  outstanding_[request->place_] = last;
  last->place_ = request->place_;
  outstanding_.pop_back();
  if (!open()) {
    Release(request);
    if (over_ && held_ == 0) Free();
    return;
  }
  request->next_ = nullptr;
  (first_ == nullptr ? first_ : last_->next_) = request;
  last_ = request;
  if (std::exchange(listed_, true)) return;
  owner_->answered_.push_back(this);
}

void InferStreams::Stream::WriteNext() {
  if (!open() || writing() || first_ == nullptr) return;
  Request* const request = std::exchange(first_, first_->next_);
  // What follows waits in the queue already: gRPC need not send before it has that, too.
  Write(request->reply_, first_ != nullptr);
  // The object is free; the reply counts until gRPC has taken it.
  owner_->Give(request);
  ++owner_->requests_in_flight_;
}

void InferStreams::Stream::OnWritten() {
  --held_;
  --owner_->requests_in_flight_;
  WriteNext();
  ReadMore();
  FinishIfIdle();
}

void InferStreams::Stream::FinishIfIdle() {
  if (!open() || held_ != 0) return;
  if (half_closed_) {
    Finish(grpc::Status::OK);
  } else if (owner_->draining_) {
    Finish({grpc::StatusCode::UNAVAILABLE, "the server is shutting down"});
  }
}

void InferStreams::Stream::OnCancelled() {
  while (first_ != nullptr) Release(std::exchange(first_, first_->next_));
  CancelAll();
}

// From the last to the first: one that is done inside Cancel is replaced by one that was visited.
void InferStreams::Stream::CancelAll() {
  for (size_t i = outstanding_.size(); i-- > 0;) {
    if (i < outstanding_.size()) outstanding_[i]->CancelAtFrontend();
  }
}

void InferStreams::Stream::OnOver() {
  over_ = true;
  if (held_ == 0) Free();
}

void InferStreams::Stream::Release(Request* request) {
  --held_;
  owner_->Give(request);
}

InferStreams::InferStreams(Frontend* frontend, const InferStreamsOptions& options,
                           RawStreamPost post)
    : frontend_(frontend),
      gate_(options.gate),
      scope_(ScopeOfMethod("ModelStreamInfer")),
      requests_per_stream_(options.requests_per_stream),
      retry_pushback_ms_(options.retry_pushback_ms),
      decoder_(options.regions),
      limit_(frontend, options.max_message_bytes),
      pool_(options.streams, std::move(post), [this](StreamPool* pool) {
        auto stream = std::make_unique<Stream>(this, pool);
        streams_.push_back(stream.get());
        answered_.reserve(streams_.size());  // to answer never allocates
        return stream;
      }) {
  MR_CHECK(gate_ != nullptr, "somebody says who may call");
  MR_CHECK(options.requests_per_stream > 0, "a stream holds a request");
}

InferStreams::~InferStreams() = default;

InferStreams::Request* InferStreams::Take(Stream* stream) {
  if (free_.empty()) {
    requests_.push_back(std::make_unique<Request>(this));
    free_.push_back(requests_.back().get());
    free_.reserve(requests_.size());  // to give one back never allocates
  }
  Request* const request = free_.back();
  free_.pop_back();
  request->stream_ = stream;
  request->answered_ = false;
  ++requests_in_flight_;
  return request;
}

void InferStreams::Give(Request* request) {
  request->stream_ = nullptr;
  request->reply_.Clear();
  if (request->id_.capacity() > kKeptIdBytes) std::string().swap(request->id_);
  --requests_in_flight_;
  free_.push_back(request);
}

void InferStreams::WriteAnswers() {
  // By index: nothing is answered meanwhile, but to write is to call gRPC.
  for (size_t i = 0; i < answered_.size(); ++i) {
    answered_[i]->listed_ = false;
    answered_[i]->WriteNext();
  }
  answered_.clear();
}

void InferStreams::Drain() {
  draining_ = true;
  pool_.Drain();
}

void InferStreams::Close() {
  for (Stream* stream : streams_) stream->CancelAll();
  pool_.Close();
}

}  // namespace millrace
