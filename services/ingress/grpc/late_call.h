// A unary call whose answer comes later than its arrival.
//
// Purpose: administration that waits for other processes. One object waits for a call, hands it on,
//   and waits again once it was answered.
// Who may call: only the thread that polls the queue, the Reply too. Ownership: must outlive its
//   operations, so the queue is drained before it is destroyed; a Reply may outlive it.
// Invariants: 1. each call is answered once. 2. A Reply after Close, or after the object has gone,
//   does nothing. 3. A client that leaves cancels nothing: what it asked for goes on.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "services/ingress/grpc/grpc_status.h"
#include "services/ingress/grpc/raw_services.h"

namespace millrace {

class LateCall final : public QueueEvent {
 public:
  // An empty message is the reply of an OK status.
  using Reply = std::function<void(const grpc::Status& status)>;
  using Handle = std::function<void(grpc::ByteBuffer* request, Reply reply)>;

  // Before it is handed on; what is not OK is the answer.
  using Check = std::function<absl::Status(grpc::ServerContext* context)>;

  // `stopping` is read before each new wait.
  LateCall(RawPost post, Check check, Handle handle, const bool* stopping);

  void Post();
  // The queue is shutting down.
  void Close() { alive_ = nullptr; }
  void Fire(bool ok) override;

 private:
  enum class State { kFree, kWaiting, kHandled, kFinishing };

  void Finish(const grpc::Status& status);

  const RawPost post_;
  const Check check_;
  const Handle handle_;
  const bool* const stopping_;
  State state_ = State::kFree;
  std::shared_ptr<LateCall*> alive_;
  std::optional<grpc::ServerContext> context_;
  std::optional<RawWriter> writer_;
  grpc::ByteBuffer request_;
};

}  // namespace millrace
