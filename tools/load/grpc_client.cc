#include <grpcpp/grpcpp.h>

#include <chrono>

#include "common/api/inference.grpc.pb.h"
#include "tools/load/client.h"
#include "tools/load/grpc_channel.h"

namespace millrace {
namespace {

absl::Status ToAbsl(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

class GrpcClient : public Client {
 public:
  GrpcClient(const std::string& address, int64_t timeout_ms, const Identity& identity)
      : timeout_ms_(timeout_ms), identity_(identity) {
    stub_ = inference::GRPCInferenceService::NewStub(MakeGrpcChannel(address, identity));
  }

  absl::StatusOr<inference::ModelMetadataResponse> Metadata(const std::string& model,
                                                            const std::string& version) override {
    inference::ModelMetadataRequest request;
    request.set_name(model);
    request.set_version(version);
    inference::ModelMetadataResponse response;
    grpc::ClientContext context;
    Prepare(&context);
    const grpc::Status status = stub_->ModelMetadata(&context, request, &response);
    if (!status.ok()) return ToAbsl(status);
    return response;
  }

  absl::StatusOr<inference::ModelInferResponse> Infer(
      const inference::ModelInferRequest& request) override {
    inference::ModelInferResponse response;
    grpc::ClientContext context;
    Prepare(&context);
    const grpc::Status status = stub_->ModelInfer(&context, request, &response);
    if (!status.ok()) return ToAbsl(status);
    if (response.outputs_size() != response.raw_output_contents_size()) {
      return absl::InternalError("the answer has not one raw content for each output");
    }
    return response;
  }

 private:
  void Prepare(grpc::ClientContext* context) const {
    AddIdentity(identity_, context);
    context->set_deadline(std::chrono::system_clock::now() +
                          std::chrono::milliseconds(timeout_ms_));
  }

  const int64_t timeout_ms_;
  const Identity identity_;
  std::unique_ptr<inference::GRPCInferenceService::Stub> stub_;
};

}  // namespace

std::unique_ptr<Client> MakeGrpcClient(const std::string& address, int64_t timeout_ms,
                                       const Identity& identity) {
  return std::make_unique<GrpcClient>(address, timeout_ms, identity);
}

}  // namespace millrace
