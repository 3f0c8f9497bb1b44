// A bidirectional stream's operations on the completion queue, and the pool of such objects.
//
// Purpose: what ModelStreamInfer and reflection have in common: which operations are outstanding,
//   when the call is over, and objects that are made once. What is said is the subclass's.
// Who may call: only the thread that polls the queue. Ownership: the pool owns its objects and must
//   outlive every operation, so the queue is drained before it is destroyed.
// Invariants:
//   1. At most one Read and one Write are outstanding. Finish is sent once, after the last Write.
//   2. A stream that arrived ends by Finish in each case: the subclass's own, or CANCELLED after
//   its
//      client left, or gave up at its deadline; OnCancelled comes before that.
//   3. OnOver is called once, when gRPC has returned every operation and the call's end. Then, or
//      later, the subclass calls Free, and the object may be posted again.
//   4. One object waits for a client as long as `max_open` and a few more are not in use; a stream
//      beyond `max_open` is RESOURCE_EXHAUSTED.
//   5. After Close no operation is started; no hook is called.
// Nothing fails.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "services/ingress/grpc/raw_services.h"

namespace millrace {

class StreamPool;

class StreamCall {
 public:
  explicit StreamCall(StreamPool* pool) : pool_(pool) {}
  virtual ~StreamCall() = default;
  StreamCall(const StreamCall&) = delete;
  StreamCall& operator=(const StreamCall&) = delete;

 protected:
  virtual void OnArrived() = 0;
  virtual void OnMessage(grpc::ByteBuffer* message) = 0;
  // The client says no more (or is gone: OnCancelled follows).
  virtual void OnHalfClosed() = 0;
  virtual void OnWritten() = 0;
  virtual void OnCancelled() = 0;
  virtual void OnOver() { Free(); }
  // The server takes nothing new. May come at any time between OnArrived and OnOver.
  virtual void OnDrain() = 0;

  void Read();
  // `more`: another Write follows at once, so that gRPC need not send yet.
  void Write(const grpc::ByteBuffer& message, bool more);
  void Finish(const grpc::Status& status);
  void Free();

  // Arrived, not finished and not cancelled.
  bool open() const { return arrived_ && !finish_ && !cancelled_; }
  bool reading() const { return reading_; }
  bool writing() const { return writing_; }
  const grpc::ServerContext& context() const { return *context_; }

 private:
  friend class StreamPool;

  class Tag final : public QueueEvent {
   public:
    Tag(StreamCall* call, void (StreamCall::*on)(bool)) : call_(call), on_(on) {}
    void Fire(bool ok) override { (call_->*on_)(ok); }

   private:
    StreamCall* const call_;
    void (StreamCall::*const on_)(bool);
  };

  void Post();
  void ArriveEvent(bool ok);
  void ReadEvent(bool ok);
  void WriteEvent(bool ok);
  void FinishEvent(bool ok);
  void EndEvent(bool ok);
  void SendFinish();
  void OverIfAllReturned();

  StreamPool* const pool_;
  Tag arrive_tag_{this, &StreamCall::ArriveEvent};
  Tag read_tag_{this, &StreamCall::ReadEvent};
  Tag write_tag_{this, &StreamCall::WriteEvent};
  Tag finish_tag_{this, &StreamCall::FinishEvent};
  Tag end_tag_{this, &StreamCall::EndEvent};
  bool arrived_ = false;
  bool reading_ = false;
  bool writing_ = false;
  bool written_ = false;  // a Write was begun
  bool cancelled_ = false;
  bool finished_ = false;  // gRPC has returned Finish
  bool ended_ = false;     // gRPC has returned the call's end
  bool admitted_ = false;  // the subclass knows of it
  std::optional<grpc::Status> finish_;
  std::optional<grpc::ServerContext> context_;
  std::optional<RawStream> stream_;
  grpc::ByteBuffer message_;
};

class StreamPool {
 public:
  using Make = std::function<std::unique_ptr<StreamCall>(StreamPool*)>;

  StreamPool(size_t max_open, RawStreamPost post, Make make);

  void Open() { PostOne(); }
  void Drain();
  // No stream is waited for any more.
  void Stop() { stopping_ = true; }
  // The queue is shutting down.
  void Close() { closed_ = true; }

  bool closed() const { return closed_; }
  // Streams that are being finished.
  size_t finishing() const { return finishing_; }

 private:
  friend class StreamCall;

  void PostOne();

  const size_t max_open_;
  const RawStreamPost post_;
  const Make make_;
  bool stopping_ = false;
  bool closed_ = false;
  bool waiting_ = false;  // one object is posted
  size_t open_ = 0;       // arrived and not free
  size_t finishing_ = 0;
  std::vector<std::unique_ptr<StreamCall>> calls_;
  std::vector<StreamCall*> free_;
};

}  // namespace millrace
