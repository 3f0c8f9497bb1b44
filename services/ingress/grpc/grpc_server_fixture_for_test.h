// A GrpcServer on a real socket, a FakeFrontend behind it, and gRPC's own client. The test's thread
// is the lane; clients are asynchronous, or run on threads of their own while the lane turns.
// Nothing outside tests uses it.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "common/api/health.grpc.pb.h"
#include "common/api/inference.grpc.pb.h"
#include "common/clock.h"
#include "services/ingress/grpc/grpc_server.h"
#include "services/ingress/grpc/listening_socket_for_test.h"
#include "services/ingress/testing/fake_frontend.h"

namespace millrace {

inline constexpr int64_t kLimitNs = 20 * kNanosPerSecond;  // a test that hangs fails

inline inference::ModelInferRequest Request(const std::string& raw = std::string(12, 'r')) {
  inference::ModelInferRequest request;
  request.set_model_name("plain");
  request.set_id("request one");
  auto* input = request.add_inputs();
  input->set_name("input");
  input->set_datatype("FP32");
  input->add_shape(static_cast<int64_t>(raw.size() / 12));
  input->add_shape(3);
  request.add_raw_input_contents(raw);
  return request;
}

// One asynchronous call of a client.
struct ClientCall {
  grpc::ClientContext context;
  inference::ModelInferResponse response;
  grpc::Status status;
  std::unique_ptr<grpc::ClientAsyncResponseReader<inference::ModelInferResponse>> reader;
  bool over = false;
};

class GrpcServerTest : public ::testing::TestWithParam<SocketKind> {
 protected:
  void SetUp() override { Start(GrpcServerOptions{}); }

  void TearDown() override {
    if (server_ != nullptr) server_->Shutdown(0);
    for (const auto& call : calls_) call->context.TryCancel();
    client_queue_.Shutdown();
    void* tag;
    bool ok;
    while (client_queue_.Next(&tag, &ok)) static_cast<ClientCall*>(tag)->over = true;
  }

  void Start(const GrpcServerOptions& options) {
    server_.reset();
    auto server = GrpcServer::Start(&frontend_, options, socket_.fd());
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    Connect();
  }

  void Connect() {
    grpc::ChannelArguments arguments;
    // A channel of its own, without the client's own limits and retries.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
    arguments.SetMaxReceiveMessageSize(-1);
    channel_ =
        grpc::CreateCustomChannel(socket_.target(), grpc::InsecureChannelCredentials(), arguments);
    stub_ = inference::GRPCInferenceService::NewStub(channel_);
    health_ = grpc::health::v1::Health::NewStub(channel_);
  }

  // Turns lane and client until `until` holds.
  void Turn(const std::function<bool()>& until) {
    const int64_t give_up_ns = MonotonicNanos() + kLimitNs;
    while (!until()) {
      if (server_->Poll(64) + frontend_.Poll() == 0) server_->Wait(kNanosPerMilli);
      void* tag;
      bool ok;
      while (client_queue_.AsyncNext(&tag, &ok, gpr_inf_past(GPR_CLOCK_MONOTONIC)) ==
             grpc::CompletionQueue::GOT_EVENT) {
        static_cast<ClientCall*>(tag)->over = true;
      }
      ASSERT_LT(MonotonicNanos(), give_up_ns) << "no progress";
    }
  }

  // A blocking call of a client, while the lane turns.
  grpc::Status Ask(const std::function<grpc::Status()>& call) {
    std::atomic<bool> over = false;
    auto answer = std::async(std::launch::async, [&] {
      const grpc::Status status = call();
      over = true;
      return status;
    });
    Turn([&] { return over.load(); });
    return answer.get();
  }

  grpc::Status Infer(const inference::ModelInferRequest& request,
                     inference::ModelInferResponse* response,
                     grpc::ClientContext* context = nullptr) {
    grpc::ClientContext own;
    return Ask([&] { return stub_->ModelInfer(context ? context : &own, request, response); });
  }

  ClientCall* Send(const inference::ModelInferRequest& request, int64_t deadline_ms = 0) {
    calls_.push_back(std::make_unique<ClientCall>());
    ClientCall* call = calls_.back().get();
    if (deadline_ms != 0) {
      call->context.set_deadline(std::chrono::system_clock::now() +
                                 std::chrono::milliseconds(deadline_ms));
    }
    call->reader = stub_->AsyncModelInfer(&call->context, request, &client_queue_);
    call->reader->Finish(&call->response, &call->status, call);
    return call;
  }

  grpc::Status Check(const std::string& service, grpc::health::v1::HealthCheckResponse* response) {
    return Ask([&] {
      grpc::health::v1::HealthCheckRequest request;
      request.set_service(service);
      grpc::ClientContext context;
      return health_->Check(&context, request, response);
    });
  }

  bool ServerReady() {
    inference::ServerReadyResponse response;
    EXPECT_TRUE(Ask([&] {
                  grpc::ClientContext context;
                  return stub_->ServerReady(&context, {}, &response);
                }).ok());
    return response.ready();
  }

  ListeningSocket socket_{GetParam()};
  FakeFrontend frontend_;
  std::unique_ptr<GrpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<inference::GRPCInferenceService::Stub> stub_;
  std::unique_ptr<grpc::health::v1::Health::Stub> health_;
  std::vector<std::unique_ptr<ClientCall>> calls_;
  grpc::CompletionQueue client_queue_;
};

}  // namespace millrace
