// The gRPC side of ingress: the Open Inference Protocol, gRPC's health service and reflection,
// served from one completion queue that the lane's own thread polls.
//
// Purpose: turn calls into Frontend requests and Frontend answers into replies.
// Who may call: only the lane's thread, the one that also polls the Frontend; Wake alone may be
//   called by any thread at any time while the object lives.
// Ownership: borrows the frontend and the listening socket, which outlive this object (the socket
//   is the keeper's and several processes may accept on it; it is made non-blocking). A thread of
//   its own accepts: gRPC cannot adopt a listening socket, but takes connections.
// Invariants:
//   1. Each call that arrives, and each request of a stream, is answered exactly once, or ends by
//   its
//      client's cancel or by Shutdown. Frontend methods are called only inside Poll, Wait and
//      Shutdown.
//   2. A request reaches the frontend with its deadline on CLOCK_MONOTONIC: the earlier of gRPC's
//      own and the parameter "timeout". Both absent: 0.
//   3. A cancelled call (its client left, or gave up at its deadline) whose answer is outstanding
//      leads to exactly one Frontend::Cancel.
//   4. An answer's memory is read once, inside Completion::Done, into the reply.
//   5. After Drain nothing new reaches the frontend. After Shutdown a late Done is ignored, but the
//      object must then still live: end the frontend first, or let it answer.
//   6. After Move no connection is accepted, each one is told to go elsewhere, and calls are served
//      until they have gone.
//   7. Start silences the logs of protobuf and gRPC in the whole process (clients could fill them)
//   and ends Abseil's search for deadlocks in it.
// What fails: Start, with a sentence, for a socket that cannot be used. Nothing else; what a client
//   gets wrong is its own status.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>
#include <stddef.h>
#include <stdint.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "services/ingress/frontend.h"
#include "services/ingress/grpc/answer_cork.h"
#include "services/ingress/grpc/late_call.h"
#include "services/ingress/grpc/plain_call.h"
#include "services/ingress/http/tls_paths.h"

namespace millrace {

class Acceptor;
class CallGate;
class ConnectionCount;
class GoAway;
class ClientRegions;
class HealthWatch;
class InferCalls;
class InferStreams;
class Keys;
class Reflection;
class StreamPool;
struct RawServices;

struct GrpcServerOptions {
  // What ServerMetadata answers. Extensions: only those that ingress implements as a whole.
  std::string server_name = "millrace";
  std::string server_version;
  std::vector<std::string> extensions;

  // Not on: plain. gRPC looks at the files each second and takes changed ones for new connections.
  TlsPaths tls;

  // Of one request on the wire; a longer one is RESOURCE_EXHAUSTED. Typed contents and names come
  // on top of the tensors' bytes, so this is more than the limit of those.
  size_t max_message_bytes = (1 << 20) + (64 << 10);
  // Requests the frontend holds at a time before it refuses. There are this many call objects plus
  // `waiting_calls`, so that a full frontend is still asked, and can say UNAVAILABLE.
  size_t max_in_flight = 256;
  // Calls posted ahead; as many may arrive between two rounds of Poll without waiting for one.
  size_t waiting_calls = 64;
  // ModelStreamInfer: streams that are open at a time, and requests of one stream that are not yet
  // answered; a stream with as many is not read further.
  size_t max_infer_streams = 256;
  size_t max_requests_per_stream = 256;
  // One more is told to come back later, and closed.
  size_t max_connections = 1024;
  int max_streams_per_connection = 256;  // HTTP/2's: calls of any kind
  int max_metadata_bytes = 8 << 10;
  // A connection of this age is told to go (GOAWAY), give or take a tenth; 0: none is. Its calls
  // may still take the grace; 0: as long as they like.
  int64_t max_connection_age_ms = 0;
  int64_t connection_age_grace_ms = 0;
  // The hint (grpc-retry-pushback-ms) that goes with each UNAVAILABLE.
  int64_t retry_pushback_ms = 100;
  // Clients' shared memory, shared with other lanes; null: not allowed. Borrowed.
  ClientRegions* regions = nullptr;
  // API keys, shared with other lanes; null: none, so that only this machine is served.
  std::shared_ptr<Keys> keys;
};

class GrpcServer {
 public:
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(Frontend* frontend,
                                                           const GrpcServerOptions& options,
                                                           int listening_fd);
  ~GrpcServer();  // Shutdown(0) where it was not called
  GrpcServer(const GrpcServer&) = delete;
  GrpcServer& operator=(const GrpcServer&) = delete;

  // Handles at most `max_events` that are there now, without blocking; returns how many.
  size_t Poll(size_t max_events);

  // Blocks until an event was handled, Wake was called, or `max_ns` passed (rounded up to a
  // millisecond). False for the last.
  bool Wait(int64_t max_ns);

  // Ends a Wait that blocks now, or the next one. Cheap to call again before that.
  void Wake();

  // Health and readiness say no, new requests are UNAVAILABLE; those in flight go on.
  void Drain();

  void Move();
  // After Move: how many connections are still there.
  size_t connections() const { return connections_left_; }

  // Calls that arrived and are not yet done with: with the frontend, or their reply being written.
  size_t in_flight() const;

  // Ends all: no more connections, GOAWAY to clients, `grace_ns` for replies being written, then
  // every call is cut off (and cancelled at the frontend). Idempotent.
  void Shutdown(int64_t grace_ns);

 private:
  class WakeEvent final : public QueueEvent {
   public:
    explicit WakeEvent(GrpcServer* server) : server_(server) {}
    void Fire(bool ok) override;

   private:
    GrpcServer* const server_;
  };

  GrpcServer(Frontend* frontend, const GrpcServerOptions& options);
  absl::Status Serve(int listening_fd);
  template <typename Service, typename Method>
  void AddPlainCall(const char* name, Service* service, Method method, PlainCall::Answer answer);
  void AddPlainCalls();
  void AddCatalogCalls();
  void AddSharedMemoryCalls();
  void AddSettingCalls();
  void AddChangeCalls();
  PlainCall::Check CheckOf(const char* method);
  template <typename Request>
  void Change(grpc::ByteBuffer* wire, LateCall::Reply reply);
  void StepMove();
  bool ready() const { return !draining_ && frontend_->ServerReady(); }

  Frontend* const frontend_;
  const GrpcServerOptions options_;
  std::unique_ptr<ClientRegions> no_regions_;  // where there are no others
  ClientRegions* regions_;
  std::unique_ptr<CallGate> gate_;
  bool draining_ = false;
  bool stopping_ = false;  // nothing is posted any more

  // Calls refer to the server, the server to the queue: destroyed in the reverse order.
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::unique_ptr<RawServices> services_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> connections_;
  std::unique_ptr<grpc::Server> server_;
  std::vector<std::unique_ptr<PlainCall>> plain_calls_;
  std::unique_ptr<InferCalls> infer_calls_;
  std::unique_ptr<InferStreams> infer_streams_;
  std::unique_ptr<Reflection> reflection_;
  std::vector<std::unique_ptr<StreamPool>> reflection_streams_;  // one for each version
  std::vector<std::unique_ptr<LateCall>> late_calls_;
  std::unique_ptr<HealthWatch> health_watch_;
  AnswerCork cork_;
  std::shared_ptr<ConnectionCount> count_;  // the acceptor's, then ours
  std::unique_ptr<Acceptor> acceptor_;
  std::unique_ptr<GoAway> go_away_;  // while clients are moved
  int64_t next_go_away_ns_ = 0;
  size_t connections_left_ = SIZE_MAX;

  WakeEvent wake_event_{this};
  std::mutex wake_mutex_;  // guards the three below; never held while blocked
  bool wake_pending_ = false;
  bool wake_closed_ = true;
  grpc::Alarm wake_alarm_;
};

}  // namespace millrace
