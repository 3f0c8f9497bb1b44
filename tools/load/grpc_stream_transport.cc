// gRPC's ModelStreamInfer: one stream for each connection, many requests on each, told apart by
// their ids.
//
// Answers are taken as long as there are some, and the requests that follow them are written then:
// with gRPC's buffer hint but for the last, so that they leave in one system call. A stream that
// ends fails what is on it; the next request opens another.
#include <grpcpp/grpcpp.h>

#include <charconv>
#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "common/api/inference.grpc.pb.h"
#include "common/clock.h"
#include "tools/load/grpc_channel.h"
#include "tools/load/transport.h"

namespace millrace {
namespace {

using inference::GRPCInferenceService;
using inference::ModelInferRequest;
using inference::ModelStreamInferResponse;

// How long after its deadline a request is given up, and its stream with it.
constexpr int64_t kGraceNs = kNanosPerSecond;

// Events of gRPC's that are taken before what they ask for is done.
constexpr int kBurst = 256;

std::chrono::system_clock::time_point WallAfter(int64_t ns) {
  return std::chrono::system_clock::now() + std::chrono::nanoseconds(std::max<int64_t>(ns, 0));
}

struct Slot {
  ModelInferRequest message;
  size_t request = 0;
  int64_t sent_ns = 0;
  bool out = false;
};

struct Connection {
  // What gRPC gives back says whose and what it is.
  struct Tag {
    Connection* connection = nullptr;
    enum { kStart, kRead, kWrite, kFinish } what = kStart;
  };

  std::unique_ptr<GRPCInferenceService::Stub> stub;
  std::unique_ptr<grpc::ClientContext> context;  // null: no stream is open
  std::unique_ptr<grpc::ClientAsyncReaderWriter<ModelInferRequest, ModelStreamInferResponse>>
      stream;
  ModelStreamInferResponse response;
  grpc::Status status;
  std::deque<int> to_write;  // slots
  std::vector<int> out;      // slots whose answers are awaited
  int pending = 0;           // operations that gRPC has not given back
  bool started = false, writing = false, ending = false;
  Tag start{this, Tag::kStart}, read{this, Tag::kRead}, write{this, Tag::kWrite},
      finish{this, Tag::kFinish};
};

class GrpcStreamTransport : public Transport {
 public:
  GrpcStreamTransport(const GoldenSet& golden, const TransportOptions& options, int slots)
      : golden_(golden),
        deadline_ns_(options.deadline_ms * kNanosPerMilli),
        identity_(options.identity),
        slots_(slots),
        connections_(options.connections) {
    for (Connection& connection : connections_) {
      auto channel = MakeGrpcChannel(options.address, options.identity);
      channel->WaitForConnected(WallAfter(deadline_ns_));
      connection.stub = GRPCInferenceService::NewStub(channel);
      Open(&connection);
    }
  }

  ~GrpcStreamTransport() override {
    for (Connection& connection : connections_) {
      if (connection.context != nullptr) connection.context->TryCancel();
    }
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }

  void Send(int at, size_t request, bool) override {
    Slot& slot = slots_[at];
    slot.request = request;
    slot.message.CopyFrom(golden_.requests[request].request);
    slot.message.set_id(std::to_string(at));
    (*slot.message.mutable_parameters())["timeout"].set_int64_param(deadline_ns_ / kNanosPerMicro);
    slot.sent_ns = MonotonicNanos();
    slot.out = true;
    Connection& connection = connections_[at % connections_.size()];
    if (connection.context == nullptr) Open(&connection);
    connection.out.push_back(at);
    connection.to_write.push_back(at);
  }

  std::optional<Done> Wait(int64_t until_ns) override {
    if (dones_.empty()) {
      for (Connection& connection : connections_) WriteNext(&connection);
    }
    while (dones_.empty()) {
      if (!Next(until_ns == 0 ? 0 : until_ns - MonotonicNanos())) {
        GiveUpLate();
        return {};
      }
      for (int i = 0; i < kBurst && Next(0); ++i) {
      }
    }
    Done done = std::move(dones_.front());
    dones_.pop_front();
    return done;
  }

 private:
  void Open(Connection* connection) {
    connection->context = std::make_unique<grpc::ClientContext>();
    AddIdentity(identity_, connection->context.get());
    connection->started = connection->writing = connection->ending = false;
    connection->pending = 1;
    connection->stream = connection->stub->AsyncModelStreamInfer(connection->context.get(), &queue_,
                                                                 &connection->start);
  }

  void WriteNext(Connection* connection) {
    if (!connection->started || connection->writing || connection->ending ||
        connection->to_write.empty()) {
      return;
    }
    const int slot = connection->to_write.front();
    connection->to_write.pop_front();
    grpc::WriteOptions options;
    if (!connection->to_write.empty()) options.set_buffer_hint();
    connection->writing = true;
    ++connection->pending;
    connection->stream->Write(slots_[slot].message, options, &connection->write);
  }

  // False: nothing came for so long.
  bool Next(int64_t wait_ns) {
    void* tag = nullptr;
    bool ok = false;
    const auto until = wait_ns > 0 ? gpr_time_from_nanos(wait_ns, GPR_TIMESPAN)
                                   : gpr_inf_past(GPR_CLOCK_MONOTONIC);
    if (queue_.AsyncNext(&tag, &ok, until) != grpc::CompletionQueue::GOT_EVENT) return false;
    OnEvent(static_cast<Connection::Tag*>(tag), ok);
    return true;
  }

  void OnEvent(Connection::Tag* tag, bool ok) {
    Connection* const connection = tag->connection;
    --connection->pending;
    Handle(*tag, ok);
    // Everything is back, the status too.
    if (connection->ending && connection->pending == 0) Close(connection);
  }

  void Handle(const Connection::Tag& tag, bool ok) {
    Connection* const connection = tag.connection;
    switch (tag.what) {
      case Connection::Tag::kStart:
        connection->started = ok;
        if (!ok) return End(connection);
        ReadMore(connection);
        return WriteNext(connection);
      case Connection::Tag::kWrite:
        connection->writing = false;
        return ok ? WriteNext(connection) : End(connection);
      case Connection::Tag::kRead:
        if (!ok) return End(connection);
        OnAnswer(connection, MonotonicNanos());
        return ReadMore(connection);
      case Connection::Tag::kFinish:
        return;
    }
  }

  void ReadMore(Connection* connection) {
    ++connection->pending;
    connection->stream->Read(&connection->response, &connection->read);
  }

  void OnAnswer(Connection* connection, int64_t now_ns) {
    const inference::ModelInferResponse& answer = connection->response.infer_response();
    int at = -1;
    std::from_chars(answer.id().data(), answer.id().data() + answer.id().size(), at);
    // An answer to nothing that was asked; its request will be late.
    if (at < 0 || at >= static_cast<int>(slots_.size()) || !slots_[at].out) return;
    Done done;
    done.slot = at;
    done.done_ns = now_ns;
    if (!connection->response.error_message().empty()) {
      done.code = "STREAMED_ERROR";  // the protocol has no code here
      done.sentence = connection->response.error_message();
    } else {
      done.outcome = Matches(golden_.requests[slots_[at].request], answer) ? Outcome::kExpected
                                                                           : Outcome::kMismatched;
    }
    Finish(connection, std::move(done));
  }

  void Finish(Connection* connection, Done done) {
    slots_[done.slot].out = false;
    std::erase(connection->out, done.slot);
    dones_.push_back(std::move(done));
  }

  // Nothing more will come of the stream but its status.
  void End(Connection* connection) {
    if (connection->ending) return;
    connection->ending = true;
    ++connection->pending;
    connection->stream->Finish(&connection->status, &connection->finish);
  }

  void Close(Connection* connection) {
    const bool retry = connection->status.error_code() == grpc::StatusCode::UNAVAILABLE;
    while (!connection->out.empty()) {
      Done done;
      done.slot = connection->out.back();
      done.done_ns = MonotonicNanos();
      done.code = "STREAM_ENDED";
      done.sentence = connection->status.error_message();
      done.may_retry = retry;
      Finish(connection, std::move(done));
    }
    connection->to_write.clear();
    connection->stream.reset();
    connection->context.reset();
  }

  void GiveUpLate() {
    const int64_t oldest_ns = MonotonicNanos() - deadline_ns_ - kGraceNs;
    for (Connection& connection : connections_) {
      for (const int slot : connection.out) {
        if (slots_[slot].sent_ns < oldest_ns) connection.context->TryCancel();
      }
    }
  }

  const GoldenSet& golden_;
  const int64_t deadline_ns_;
  const Identity identity_;
  std::vector<Slot> slots_;
  grpc::CompletionQueue queue_;
  std::vector<Connection> connections_;
  std::deque<Done> dones_;
};

}  // namespace

std::unique_ptr<Transport> MakeGrpcStreamTransport(const GoldenSet& golden,
                                                   const TransportOptions& options, int slots) {
  return std::make_unique<GrpcStreamTransport>(golden, options, slots);
}

}  // namespace millrace
