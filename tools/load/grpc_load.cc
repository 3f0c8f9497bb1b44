#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "common/api/inference.grpc.pb.h"
#include "common/clock.h"
#include "tools/load/load.h"

namespace millrace {
namespace {

using inference::GRPCInferenceService;

struct Call {
  GRPCInferenceService::Stub* stub = nullptr;
  const GoldenRequest* golden = nullptr;
  std::unique_ptr<grpc::ClientContext> context;
  inference::ModelInferResponse response;
  grpc::Status status;
  std::unique_ptr<grpc::ClientAsyncResponseReader<inference::ModelInferResponse>> reader;
  int64_t start_ns = 0;
  int retries_left = 0;
};

class Load {
 public:
  Load(const GoldenSet& golden, const LoadOptions& options) : golden_(golden), options_(options) {
    for (int c = 0; c < options.channels; ++c) {
      grpc::ChannelArguments arguments;
      arguments.SetInt("grpc.use_local_subchannel_pool", 1);
      arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 100);
      arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 20);
      // The time limit of a connection attempt, which may wait for the next ingress to accept it.
      arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);
      arguments.SetMaxReceiveMessageSize(-1);
      auto channel =
          grpc::CreateCustomChannel(options.address, grpc::InsecureChannelCredentials(), arguments);
      // Connecting is no part of the load; without a connection the requests will fail and tell.
      channel->WaitForConnected(std::chrono::system_clock::now() +
                                std::chrono::milliseconds(options.deadline_ms));
      stubs_.push_back(GRPCInferenceService::NewStub(channel));
    }
  }

  LoadReport Run() {
    const int64_t begin_ns = MonotonicNanos();
    end_ns_ = begin_ns + options_.duration_ms * kNanosPerMilli;
    std::vector<std::unique_ptr<Call>> calls;
    for (int i = 0; i < options_.in_flight && More(); ++i) {
      calls.push_back(std::make_unique<Call>());
      calls.back()->stub = stubs_[i % stubs_.size()].get();
      Next(calls.back().get());
    }
    void* tag = nullptr;
    bool ok = false;
    while (pending_ > 0 && queue_.Next(&tag, &ok)) {
      --pending_;
      Finish(static_cast<Call*>(tag));
    }
    report_.seconds = static_cast<double>(MonotonicNanos() - begin_ns) / kNanosPerSecond;
    queue_.Shutdown();
    while (queue_.Next(&tag, &ok)) {
    }
    std::sort(report_.latencies_ns.begin(), report_.latencies_ns.end());
    return std::move(report_);
  }

 private:
  bool More() const { return MayStart(options_, report_.sent, end_ns_); }

  void Next(Call* call) {
    call->golden = &golden_.requests[report_.sent % golden_.requests.size()];
    call->retries_left = options_.retries;
    ++report_.sent;
    Start(call, false);
  }

  void Start(Call* call, bool wait_for_ready) {
    call->context = std::make_unique<grpc::ClientContext>();
    call->context->set_deadline(std::chrono::system_clock::now() +
                                std::chrono::milliseconds(options_.deadline_ms));
    // A retry waits for the next server instead of using itself up on a closed port.
    call->context->set_wait_for_ready(wait_for_ready);
    call->start_ns = MonotonicNanos();
    call->reader = call->stub->AsyncModelInfer(call->context.get(), call->golden->request, &queue_);
    call->reader->Finish(&call->response, &call->status, call);
    ++pending_;
  }

  void Finish(Call* call) {
    const bool unavailable = call->status.error_code() == grpc::StatusCode::UNAVAILABLE;
    if (unavailable && call->retries_left > 0) {
      --call->retries_left;
      ++report_.retried;
      return Start(call, true);
    }
    if (call->status.ok()) {
      report_.latencies_ns.push_back(MonotonicNanos() - call->start_ns);
      ++(Matches(*call->golden, call->response) ? report_.answered : report_.mismatched);
    } else {
      ++report_.failed;
      ++report_.failures[std::to_string(call->status.error_code()) + " " +
                         call->status.error_message()];
    }
    if (More()) Next(call);
  }

  const GoldenSet& golden_;
  const LoadOptions& options_;
  std::vector<std::unique_ptr<GRPCInferenceService::Stub>> stubs_;
  grpc::CompletionQueue queue_;
  int64_t end_ns_ = 0;
  int64_t pending_ = 0;
  LoadReport report_;
};

}  // namespace

LoadReport RunGrpcLoad(const GoldenSet& golden, const LoadOptions& options) {
  return Load(golden, options).Run();
}

}  // namespace millrace
