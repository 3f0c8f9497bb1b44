#include "services/ingress/grpc/infer_calls.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
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

// One call. It is itself the event of its arrival and of its reply; the end of the call (which
// comes early when the client leaves) is an event of its own.
class InferCalls::Call final : public QueueEvent, public Completion {
 public:
  explicit Call(InferCalls* owner) : owner_(owner), ended_(this) {}

  void Post();
  void Fire(bool ok) override;
  void Done(const InferAnswer& answer) override;
  void Run();
  void CancelAtFrontend();

 private:
  enum class State { kFree, kWaiting, kRunning, kFinishing };

  class Ended final : public QueueEvent {
   public:
    explicit Ended(Call* call) : call_(call) {}
    void Fire(bool) override { call_->OnEnded(); }

   private:
    Call* const call_;
  };

  void OnEnded();
  void Reply(const InferAnswer& answer);
  void Refuse(const absl::Status& status);
  void FreeIfOver();
  QueueEvent* self() { return this; }

  InferCalls* const owner_;
  Ended ended_;
  State state_ = State::kFree;
  bool call_ended_ = false;          // gRPC has returned the call's end
  bool reply_ended_ = false;         // gRPC has returned the reply's event
  RequestId request_id_ = 0;         // at the frontend; 0 when there is nothing to cancel
  std::string id_;                   // the client's
  std::vector<OutputPlace> places_;  // of outputs in shared memory
  Classification classes_;           // of outputs that are classified
  std::optional<grpc::ServerContext> context_;
  std::optional<RawWriter> writer_;
  grpc::ByteBuffer wire_;
};

void InferCalls::Call::Post() {
  MR_CHECK(state_ == State::kFree, "only a free call is posted");
  state_ = State::kWaiting;
  call_ended_ = false;
  reply_ended_ = false;
  context_.emplace();
  context_->AsyncNotifyWhenDone(static_cast<QueueEvent*>(&ended_));
  writer_.emplace(&*context_);
  owner_->post_(&*context_, &wire_, &*writer_, this);
}

void InferCalls::Call::Fire(bool ok) {
  if (state_ == State::kWaiting) {
    --owner_->waiting_;
    if (ok) return owner_->Arrived(this);
    state_ = State::kFree;  // the server stops: this call never began, so it will not end
    return;
  }
  MR_CHECK(state_ == State::kFinishing, "an event belongs to a call that waits or finishes");
  reply_ended_ = true;
  FreeIfOver();
}

void InferCalls::Call::Run() {
  state_ = State::kRunning;
  InferDecoder& decoder = owner_->decoder_;
  TraceEntry trace;
  if (owner_->frontend_->Traces()) trace = TraceOf(*context_, TraceMethod::kGrpcInfer);
  absl::Status status = owner_->draining_ ? absl::UnavailableError("the server is shutting down")
                                          : owner_->gate_->Check(owner_->scope_, &*context_);
  if (absl::IsResourceExhausted(status)) owner_->frontend_->CountQuotaRefusal();
  if (status.ok()) status = decoder.Decode(&wire_, owner_->limit_.Of(wire_));
  if (status.ok()) RouteCall(*owner_->frontend_, *context_, *owner_->gate_, &decoder);
  if (status.ok() && !decoder.classes().empty()) {
    std::swap(classes_, decoder.classes());
    status = decoder.BindClasses(owner_->frontend_->catalog(), &classes_);
  }
  if (!status.ok()) {
    wire_.Clear();
    Refuse(status);
  } else {
    InferRequest& request = decoder.request();
    request.trace = trace;
    request.deadline_ns = RequestDeadlineNanos(DeadlineNanos(*context_), decoder.timeout_ns());
    id_.assign(decoder.id());
    places_.swap(decoder.output_places());
    const RequestId id = owner_->frontend_->Infer(request, this);
    // Answered inside Infer: there is nothing left to cancel.
    request_id_ = state_ == State::kRunning ? id : 0;
  }
  decoder.Release();
}

void InferCalls::Call::Refuse(const absl::Status& status) {
  InferAnswer answer;
  answer.status = status;
  Done(answer);
}

void InferCalls::Call::Done(const InferAnswer& answer) {
  if (owner_->closed_) return;
  MR_CHECK(state_ == State::kRunning, "a request is answered once");
  state_ = State::kFinishing;
  request_id_ = 0;
  TellTrace(answer, &*context_);
  if (places_.empty() && classes_.empty()) return Reply(answer);
  InferAnswer turned = answer;
  if (!classes_.empty()) turned = owner_->encoder_.Classify(turned, classes_);
  if (!places_.empty()) turned = owner_->encoder_.Place(turned, &places_);
  Reply(turned);
  places_.clear();
  classes_.Clear();
}

void InferCalls::Call::Reply(const InferAnswer& answer) {
  owner_->cork_->Answer(owner_->in_flight_);
  if (answer.status.ok()) {
    writer_->Finish(owner_->encoder_.Encode(answer, id_, places_), grpc::Status::OK, self());
    return;
  }
  if (answer.status.code() == absl::StatusCode::kUnavailable) {
    context_->AddTrailingMetadata(
        "grpc-retry-pushback-ms",
        answer.retry_after_ms > 0 ? absl::StrCat(answer.retry_after_ms) : owner_->retry_pushback_);
  }
  writer_->FinishWithError(ToGrpcStatus(answer.status), self());
}

void InferCalls::Call::OnEnded() {
  call_ended_ = true;
  if (context_->IsCancelled()) CancelAtFrontend();
  FreeIfOver();
}

void InferCalls::Call::CancelAtFrontend() {
  if (request_id_ == 0) return;
  // Done may come inside Cancel.
  owner_->frontend_->Cancel(std::exchange(request_id_, 0));
}

void InferCalls::Call::FreeIfOver() {
  if (!call_ended_ || !reply_ended_ || state_ != State::kFinishing) return;
  state_ = State::kFree;
  writer_.reset();
  context_.reset();
  if (id_.capacity() > kKeptIdBytes) std::string().swap(id_);
  owner_->Free(this);
}

InferCalls::InferCalls(Frontend* frontend, const InferCallsOptions& options, RawPost post)
    : frontend_(frontend),
      gate_(options.gate),
      cork_(options.cork),
      scope_(ScopeOfMethod("ModelInfer")),
      waiting_calls_(options.waiting_calls),
      retry_pushback_(absl::StrCat(options.retry_pushback_ms)),
      post_(std::move(post)),
      decoder_(options.regions),
      limit_(frontend, options.max_message_bytes) {
  MR_CHECK(gate_ != nullptr && cork_ != nullptr, "somebody says who may call");
  MR_CHECK(options.waiting_calls > 0 && options.calls >= options.waiting_calls,
           "some calls are posted ahead");
  calls_.reserve(options.calls);
  free_.reserve(options.calls);
  for (size_t i = 0; i < options.calls; ++i) {
    calls_.push_back(std::make_unique<Call>(this));
    free_.push_back(calls_.back().get());
  }
}

InferCalls::~InferCalls() = default;

void InferCalls::Open() { PostMore(); }

void InferCalls::PostMore() {
  while (!stopping_ && waiting_ < waiting_calls_ && !free_.empty()) {
    Call* call = free_.back();
    free_.pop_back();
    ++waiting_;
    call->Post();
  }
}

void InferCalls::Arrived(Call* call) {
  ++in_flight_;
  PostMore();
  call->Run();
}

void InferCalls::Free(Call* call) {
  --in_flight_;
  free_.push_back(call);
  PostMore();
}

void InferCalls::Close() {
  MR_CHECK(stopping_, "calls are no more waited for when the queue ends");
  for (const auto& call : calls_) call->CancelAtFrontend();
  closed_ = true;
}

}  // namespace millrace
