// gRPC on one completion queue. A closed loop's driver polls the queue itself, which costs no
// hand-over. An open loop has a thread for it: gRPC rounds the end of a wait up to milliseconds,
// and an answer is to get its time while the driver sends.
#include <grpcpp/grpcpp.h>
#include <sys/prctl.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "common/api/inference.grpc.pb.h"
#include "common/clock.h"
#include "common/short_slices.h"
#include "tools/load/grpc_channel.h"
#include "tools/load/transport.h"

namespace millrace {
namespace {

using inference::GRPCInferenceService;

std::chrono::system_clock::time_point WallAfter(int64_t ns) {
  return std::chrono::system_clock::now() + std::chrono::nanoseconds(std::max<int64_t>(ns, 0));
}

std::string CodeName(const grpc::Status& status) {
  const std::string name =
      absl::StatusCodeToString(static_cast<absl::StatusCode>(status.error_code()));
  return name.empty() ? "CODE " + std::to_string(status.error_code()) : name;
}

// gRPC gives UNAVAILABLE also for what never reached a server, and tells it by its words alone.
bool NeverConnected(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::UNAVAILABLE &&
         status.error_message().find("failed to connect to all addresses") != std::string::npos;
}

struct Call {
  size_t request = 0;
  std::unique_ptr<grpc::ClientContext> context;
  inference::ModelInferResponse response;
  grpc::Status status;
  std::unique_ptr<grpc::ClientAsyncResponseReader<inference::ModelInferResponse>> reader;
};

class GrpcTransport : public Transport {
 public:
  GrpcTransport(const GoldenSet& golden, const TransportOptions& options, int slots)
      : golden_(golden),
        deadline_ms_(options.deadline_ms),
        identity_(options.identity),
        calls_(slots) {
    for (int c = 0; c < options.connections; ++c) {
      grpc::ChannelArguments arguments;
      arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);  // --retries says how often, and is counted
      arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 100);
      arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 20);
      // The time limit of a connection attempt, which may wait for the next ingress to accept it.
      arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);
      auto channel = MakeGrpcChannel(options.address, options.identity, arguments);
      // Connecting is no part of the load; without a connection the requests will fail and tell.
      channel->WaitForConnected(WallAfter(deadline_ms_ * kNanosPerMilli));
      stubs_.push_back(GRPCInferenceService::NewStub(channel));
    }
    if (!options.open_loop) return;
    prctl(PR_SET_TIMERSLACK, 1);  // this thread's waits end to some microseconds, not 50
    AskForSlice(kShortSliceNs);   // what it waits for a core is none of the server's latency
    receiver_ = std::thread([this] { ReceiveAll(); });  // with the same slices
  }

  ~GrpcTransport() override {
    queue_.Shutdown();
    if (receiver_.joinable()) {
      receiver_.join();
      prctl(PR_SET_TIMERSLACK, 0);  // the thread's own again
      AskForSlice(kUsualSlice);
      return;
    }
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }

  void Send(int slot, size_t request, bool again) override {
    Call& call = calls_[slot];
    call.request = request;
    call.context = std::make_unique<grpc::ClientContext>();
    AddIdentity(identity_, call.context.get());
    call.context->set_deadline(WallAfter(deadline_ms_ * kNanosPerMilli));
    // A retry waits for the next server instead of using itself up on a closed port.
    call.context->set_wait_for_ready(again);
    call.reader = stubs_[slot % stubs_.size()]->AsyncModelInfer(
        call.context.get(), golden_.requests[request].request, &queue_);
    call.reader->Finish(&call.response, &call.status,
                        reinterpret_cast<void*>(static_cast<intptr_t>(slot)));
  }

  std::optional<Done> Wait(int64_t until_ns) override {
    if (receiver_.joinable()) return WaitForReceiver(until_ns);
    void* tag = nullptr;
    bool ok = false;
    const auto until = WallAfter(until_ns == 0 ? 0 : until_ns - MonotonicNanos());
    if (queue_.AsyncNext(&tag, &ok, until) != grpc::CompletionQueue::GOT_EVENT) return {};
    return MakeDone(tag);
  }

 private:
  Done MakeDone(void* tag) {
    Done done;
    done.done_ns = MonotonicNanos();
    done.slot = static_cast<int>(reinterpret_cast<intptr_t>(tag));
    const Call& call = calls_[done.slot];
    if (call.status.ok()) {
      done.outcome = Matches(golden_.requests[call.request], call.response) ? Outcome::kExpected
                                                                            : Outcome::kMismatched;
      return done;
    }
    done.code = NeverConnected(call.status) ? "CONNECT" : CodeName(call.status);
    done.sentence = call.status.error_message();
    done.may_retry = call.status.error_code() == grpc::StatusCode::UNAVAILABLE;
    return done;
  }

  void ReceiveAll() {
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
      Done done = MakeDone(tag);
      const std::lock_guard<std::mutex> lock(mutex_);
      dones_.push_back(std::move(done));
      if (waiting_) arrived_.notify_one();
    }
  }

  std::optional<Done> WaitForReceiver(int64_t until_ns) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (dones_.empty() && until_ns > 0) {
      waiting_ = true;
      // steady_clock is CLOCK_MONOTONIC.
      arrived_.wait_until(lock,
                          std::chrono::steady_clock::time_point(std::chrono::nanoseconds(until_ns)),
                          [this] { return !dones_.empty(); });
      waiting_ = false;
    }
    if (dones_.empty()) return {};
    Done done = std::move(dones_.front());
    dones_.pop_front();
    return done;
  }

  const GoldenSet& golden_;
  const int64_t deadline_ms_;
  const Identity identity_;
  std::vector<Call> calls_;  // by slot; the queue orders what the two threads do with one
  std::vector<std::unique_ptr<GRPCInferenceService::Stub>> stubs_;
  grpc::CompletionQueue queue_;
  std::thread receiver_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Done> dones_;
  bool waiting_ = false;
};

}  // namespace

std::unique_ptr<Transport> MakeGrpcTransport(const GoldenSet& golden,
                                             const TransportOptions& options, int slots) {
  return std::make_unique<GrpcTransport>(golden, options, slots);
}

bool Matches(const GoldenRequest& golden, const inference::ModelInferResponse& response) {
  if (golden.expected.empty()) return true;
  const auto& raw = response.raw_output_contents();
  return std::equal(raw.begin(), raw.end(), golden.expected.begin(), golden.expected.end());
}

}  // namespace millrace
