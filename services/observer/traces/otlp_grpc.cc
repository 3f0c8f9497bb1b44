// OTLP over gRPC: one unary call at a time, by the method's name.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <chrono>

#include "services/observer/traces/otlp_export.h"

namespace millrace {
namespace {

constexpr char kMethod[] = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

SendResult ResultOf(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::OK:
      return SendResult::kSent;
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::DEADLINE_EXCEEDED:
    case grpc::StatusCode::ABORTED:
    case grpc::StatusCode::OUT_OF_RANGE:
    case grpc::StatusCode::UNAVAILABLE:
    case grpc::StatusCode::DATA_LOSS:
      return SendResult::kAgain;
    default:
      return SendResult::kRefused;
  }
}

class GrpcSender final : public OtlpSender {
 public:
  explicit GrpcSender(const OtlpEndpoint& endpoint) : endpoint_(endpoint) {}

  SendResult Send(const otlp::ExportRequest& request, std::string* why) override {
    if (!Connect(why)) return SendResult::kAgain;
    const std::string bytes = request.SerializeAsString();
    const grpc::Slice slice(bytes);
    const grpc::ByteBuffer message(&slice, 1);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::milliseconds(OtlpExporter::kSendMs));
    grpc::CompletionQueue queue;
    auto call = stub_->PrepareUnaryCall(&context, kMethod, message, &queue);
    call->StartCall();
    grpc::ByteBuffer answer;
    grpc::Status status;
    call->Finish(&answer, &status, this);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    queue.Shutdown();
    while (queue.Next(&tag, &ok)) {
    }
    const SendResult result = ResultOf(status);
    if (result == SendResult::kSent) return result;
    *why = "the collector: " + status.error_message();
    if (result == SendResult::kAgain) stub_.reset();  // its name may stand for another address
    return result;
  }

 private:
  bool Connect(std::string* why) {
    if (stub_ != nullptr) return true;
    const absl::StatusOr<std::string> address = PrivateAddress(endpoint_);
    if (!address.ok()) {
      *why = std::string(address.status().message());
      return false;
    }
    const bool v6 = address->find(':') != std::string::npos;
    const std::string target = v6 ? "ipv6:[" + *address + "]:" + endpoint_.port
                                  : "ipv4:" + *address + ":" + endpoint_.port;
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    stub_ = std::make_unique<grpc::GenericStub>(
        grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments));
    return true;
  }

  const OtlpEndpoint endpoint_;
  std::unique_ptr<grpc::GenericStub> stub_;
};

}  // namespace

std::unique_ptr<OtlpSender> MakeGrpcSender(const OtlpEndpoint& endpoint) {
  return std::make_unique<GrpcSender>(endpoint);
}

}  // namespace millrace
