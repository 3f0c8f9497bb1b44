// Clients' shared memory over real sockets; the sockets are those of grpc_server_test.cc.
#include <gmock/gmock.h>

#include "services/ingress/client_shm/regions.h"
#include "services/ingress/client_shm/shared_memory_for_test.h"
#include "services/ingress/grpc/grpc_server_fixture_for_test.h"

namespace millrace {
namespace {

using grpc::StatusCode;
using inference::ModelInferRequest;
using inference::ModelInferResponse;
using ::testing::HasSubstr;

// A request whose input and output lie in the region "r".
ModelInferRequest InRegion(int64_t input_offset, int64_t output_offset) {
  ModelInferRequest request = Request();
  request.clear_raw_input_contents();
  request.add_outputs()->set_name("input");
  const auto set = [](int64_t offset, auto* parameters) {
    (*parameters)["shared_memory_region"].set_string_param("r");
    (*parameters)["shared_memory_byte_size"].set_int64_param(12);
    (*parameters)["shared_memory_offset"].set_int64_param(offset);
  };
  set(input_offset, request.mutable_inputs(0)->mutable_parameters());
  set(output_offset, request.mutable_outputs(0)->mutable_parameters());
  return request;
}

TEST_P(GrpcServerTest, SharedMemoryIsOffUnlessItIsAllowed) {
  inference::SystemSharedMemoryStatusResponse status;
  inference::CudaSharedMemoryUnregisterResponse cuda;
  ModelInferResponse response;
  for (const grpc::Status& answer :
       {Ask([&] {
          grpc::ClientContext context;
          return stub_->SystemSharedMemoryStatus(&context, {}, &status);
        }),
        Ask([&] {
          grpc::ClientContext context;
          return stub_->CudaSharedMemoryUnregister(&context, {}, &cuda);
        }),
        Infer(InRegion(0, 0), &response)}) {
    EXPECT_EQ(answer.error_code(), StatusCode::UNIMPLEMENTED);
    EXPECT_THAT(answer.error_message(), HasSubstr("ingress.allow_client_shm"));
  }
}

TEST_P(GrpcServerTest, TensorsGoThroughSharedMemory) {
  ClientRegionsOptions allowed;
  allowed.allowed = true;
  ClientRegions regions(allowed);
  GrpcServerOptions options;
  options.regions = &regions;
  Start(options);
  SharedMemory memory("abcdefghijkl............");
  inference::SystemSharedMemoryRegisterRequest region;
  region.set_name("r");
  region.set_key(memory.key());
  region.set_byte_size(24);
  ASSERT_TRUE(Ask([&] {
                grpc::ClientContext context;
                inference::SystemSharedMemoryRegisterResponse nothing;
                return stub_->SystemSharedMemoryRegister(&context, region, &nothing);
              }).ok());
  inference::SystemSharedMemoryStatusResponse status;
  ASSERT_TRUE(Ask([&] {
                grpc::ClientContext context;
                return stub_->SystemSharedMemoryStatus(&context, {}, &status);
              }).ok());
  ASSERT_EQ(status.regions().count("r"), 1u);
  EXPECT_EQ(status.regions().at("r").key(), memory.key());
  EXPECT_EQ(status.regions().at("r").byte_size(), 24u);

  ModelInferResponse response;
  ASSERT_TRUE(Infer(InRegion(0, 12), &response).ok());
  EXPECT_EQ(memory.Bytes(), "abcdefghijklabcdefghijkl");
  ASSERT_EQ(response.raw_output_contents_size(), 1);
  EXPECT_EQ(response.raw_output_contents(0), "");
  EXPECT_EQ(response.outputs(0).parameters().at("shared_memory_offset").int64_param(), 12);

  // Unregistered while the request is in flight: its answer still has its place.
  frontend_.set_mode(FakeFrontend::Mode::kHold);
  memory.Set("mnopqrstuvwx............");
  ClientCall* call = Send(InRegion(0, 12));
  Turn([&] { return frontend_.in_flight() == 1; });
  EXPECT_TRUE(Ask([&] {
                grpc::ClientContext context;
                inference::SystemSharedMemoryUnregisterResponse nothing;
                return stub_->SystemSharedMemoryUnregister(&context, {}, &nothing);
              }).ok());
  frontend_.ReleaseAll();
  Turn([&] { return call->over; });
  EXPECT_TRUE(call->status.ok());
  EXPECT_EQ(memory.Bytes(), "mnopqrstuvwxmnopqrstuvwx");
  EXPECT_EQ(Infer(InRegion(0, 12), &response).error_code(), StatusCode::INVALID_ARGUMENT);

  // A client that takes its memory away before the answer is told so, and the server goes on.
  ASSERT_TRUE(regions.Register("r", memory.key(), 0, 24).ok());
  call = Send(InRegion(0, 12));
  Turn([&] { return frontend_.in_flight() == 1; });
  memory.Truncate(12);
  frontend_.ReleaseAll();
  Turn([&] { return call->over; });
  EXPECT_EQ(call->status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(call->status.error_message(), HasSubstr("shorter than was registered"));
  EXPECT_EQ(memory.size(), 12u);
  frontend_.set_mode(FakeFrontend::Mode::kInline);
  EXPECT_TRUE(Infer(Request(), &response).ok());
}

TEST_P(GrpcServerTest, OfCudaMemoryThereIsNone) {
  ClientRegionsOptions allowed;
  allowed.allowed = true;
  ClientRegions regions(allowed);
  GrpcServerOptions options;
  options.regions = &regions;
  Start(options);
  inference::CudaSharedMemoryStatusResponse status;
  inference::CudaSharedMemoryRegisterResponse registered;
  inference::CudaSharedMemoryUnregisterResponse unregistered;
  EXPECT_TRUE(Ask([&] {
                grpc::ClientContext context;
                return stub_->CudaSharedMemoryStatus(&context, {}, &status);
              }).ok());
  EXPECT_TRUE(status.regions().empty());
  const grpc::Status refused = Ask([&] {
    grpc::ClientContext context;
    return stub_->CudaSharedMemoryRegister(&context, {}, &registered);
  });
  EXPECT_EQ(refused.error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_THAT(refused.error_message(), HasSubstr("CUDA"));
  EXPECT_TRUE(Ask([&] {
                grpc::ClientContext context;
                return stub_->CudaSharedMemoryUnregister(&context, {}, &unregistered);
              }).ok());
}

}  // namespace
}  // namespace millrace
