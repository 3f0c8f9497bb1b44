// A call that is answered as soon as it arrives: every method but ModelInfer.
//
// Purpose: one object waits for a call, answers it, and waits again; no method of these is hot.
// Who may call: only the thread that polls the queue. Ownership: must outlive its operations, so
//   the queue is drained before it is destroyed.
// Invariant: at any time it waits for a call, answers one, or the server is stopping.
#pragma once

#include <functional>
#include <optional>
#include <utility>

#include "services/ingress/grpc/grpc_status.h"
#include "services/ingress/grpc/raw_services.h"

namespace millrace {

class PlainCall final : public QueueEvent {
 public:
  // The request's bytes to the reply's.
  using Answer = std::function<grpc::Status(grpc::ByteBuffer* request, grpc::ByteBuffer* reply)>;

  // Before the answer; what is not OK is the answer.
  using Check = std::function<absl::Status(grpc::ServerContext* context)>;

  // `stopping` is read before each new wait.
  PlainCall(RawPost post, Check check, Answer answer, const bool* stopping)
      : post_(std::move(post)),
        check_(std::move(check)),
        answer_(std::move(answer)),
        stopping_(stopping) {}

  void Post();
  void Fire(bool ok) override;

 private:
  const RawPost post_;
  const Check check_;
  const Answer answer_;
  const bool* const stopping_;
  bool waiting_ = false;
  std::optional<grpc::ServerContext> context_;
  std::optional<RawWriter> writer_;
  grpc::ByteBuffer request_;
};

// An Answer from a function on messages: absl::Status F(const Request&, Response*).
template <typename Request, typename Response, typename F>
PlainCall::Answer AnswerWith(F answer) {
  return [answer](grpc::ByteBuffer* wire, grpc::ByteBuffer* reply) -> grpc::Status {
    Request request;
    if (absl::Status status = ParseMessage(wire, &request); !status.ok()) {
      return ToGrpcStatus(status);
    }
    Response response;
    if (absl::Status status = answer(request, &response); !status.ok()) {
      return ToGrpcStatus(status);
    }
    bool own_buffer = false;
    return grpc::SerializationTraits<Response>::Serialize(response, reply, &own_buffer);
  };
}

}  // namespace millrace
