// Reflection as a client without our protos uses it: it lists, fetches the files, and calls by what
// it built from them.
#include "services/ingress/grpc/reflection.h"

#include <gmock/gmock.h>
#include <google/protobuf/dynamic_message.h>

#include "common/api/reflection.grpc.pb.h"
#include "common/api/reflection_v1.grpc.pb.h"
#include "ipc/catalog.pb.h"
#include "services/ingress/grpc/grpc_server_fixture_for_test.h"

namespace millrace {
namespace {

using grpc::StatusCode;
using grpc::reflection::v1alpha::ServerReflection;
using grpc::reflection::v1alpha::ServerReflectionRequest;
using grpc::reflection::v1alpha::ServerReflectionResponse;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

INSTANTIATE_TEST_SUITE_P(Sockets, GrpcServerTest, ::testing::Values(SocketKind::kUnix),
                         [](const auto&) { return "Unix"; });

ServerReflectionRequest Symbol(const std::string& name) {
  ServerReflectionRequest request;
  request.set_file_containing_symbol(name);
  return request;
}

class ReflectionTest : public ::testing::Test {
 protected:
  ServerReflectionResponse Answer(const ServerReflectionRequest& request) {
    ServerReflectionResponse response;
    reflection_.Answer(request, &response);
    EXPECT_EQ(response.original_request().SerializeAsString(), request.SerializeAsString());
    return response;
  }
  Reflection reflection_{{"inference.GRPCInferenceService", "grpc.health.v1.Health"}};
};

TEST_F(ReflectionTest, TellsAFileWithAllItsImports) {
  for (const char* symbol : {"inference.GRPCInferenceService", "inference.ModelInferRequest",
                             "inference.GRPCInferenceService.ModelInfer"}) {
    const auto files = Answer(Symbol(symbol)).file_descriptor_response();
    std::vector<std::string> names;
    for (const std::string& bytes : files.file_descriptor_proto()) {
      google::protobuf::FileDescriptorProto file;
      ASSERT_TRUE(file.ParseFromString(bytes));
      names.push_back(file.name());
    }
    EXPECT_THAT(names, ElementsAre("common/api/inference.proto", "common/api/model_config.proto"));
  }
  ServerReflectionRequest request;
  request.set_file_by_filename("common/api/model_config.proto");
  EXPECT_EQ(Answer(request).file_descriptor_response().file_descriptor_proto_size(), 1);
}

TEST_F(ReflectionTest, TellsNothingOfTheServersOwnAffairs) {
  const std::string inside =
      millrace::Catalog::descriptor()->full_name();  // and so it is linked in
  EXPECT_EQ(Answer(Symbol(inside)).error_response().error_code(), StatusCode::NOT_FOUND);
  ServerReflectionRequest request;
  request.set_file_by_filename("ipc/catalog.proto");
  EXPECT_EQ(Answer(request).error_response().error_code(), StatusCode::NOT_FOUND);
  request.set_all_extension_numbers_of_type(inside);
  EXPECT_EQ(Answer(request).error_response().error_code(), StatusCode::NOT_FOUND);
}

TEST_F(ReflectionTest, AnswersWhatCannotBeFound) {
  EXPECT_EQ(Answer(Symbol("no.Such")).error_response().error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(Answer(Symbol("")).error_response().error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(Answer({}).error_response().error_code(), StatusCode::INVALID_ARGUMENT);
  ServerReflectionRequest request;
  request.mutable_file_containing_extension()->set_containing_type("inference.ModelInferRequest");
  EXPECT_EQ(Answer(request).error_response().error_code(), StatusCode::NOT_FOUND);
  request.set_all_extension_numbers_of_type("inference.ModelInferRequest");
  const auto numbers = Answer(request).all_extension_numbers_response();
  EXPECT_EQ(numbers.base_type_name(), "inference.ModelInferRequest");
  EXPECT_THAT(numbers.extension_number(), IsEmpty());
}

// The way of grpcurl: every listed service is described by what its stream tells, nothing else.
template <typename Service, typename Request, typename Response>
grpc::Status BuildAll(const std::shared_ptr<grpc::Channel>& channel) {
  auto stub = Service::NewStub(channel);
  grpc::ClientContext context;
  auto stream = stub->ServerReflectionInfo(&context);
  Request request;
  request.set_list_services("*");
  Response response;
  EXPECT_TRUE(stream->Write(request) && stream->Read(&response));
  std::vector<std::string> services;
  for (const auto& service : response.list_services_response().service()) {
    services.push_back(service.name());
  }
  EXPECT_THAT(services, ElementsAre("inference.GRPCInferenceService", "grpc.health.v1.Health",
                                    "grpc.reflection.v1.ServerReflection",
                                    "grpc.reflection.v1alpha.ServerReflection"));
  google::protobuf::DescriptorPool pool;
  for (const std::string& name : services) {
    request.set_file_containing_symbol(name);
    EXPECT_TRUE(stream->Write(request) && stream->Read(&response)) << name;
    const auto& files = response.file_descriptor_response().file_descriptor_proto();
    for (int i = files.size(); i-- > 0;) {
      google::protobuf::FileDescriptorProto file;
      EXPECT_TRUE(file.ParseFromString(files[i]));
      EXPECT_NE(pool.BuildFile(file), nullptr) << file.name();
    }
    EXPECT_NE(pool.FindServiceByName(name), nullptr);
  }
  EXPECT_NE(pool.FindMethodByName("inference.GRPCInferenceService.RepositoryIndex"), nullptr);
  stream->WritesDone();
  return stream->Finish();
}

TEST_P(GrpcServerTest, AClientBuildsEveryServiceFromWhatItIsTold) {
  grpc::Status status = Ask([&] {
    return BuildAll<ServerReflection, ServerReflectionRequest, ServerReflectionResponse>(channel_);
  });
  EXPECT_TRUE(status.ok()) << status.error_message();
  namespace v1 = grpc::reflection::v1;
  status = Ask([&] {
    return BuildAll<v1::ServerReflection, v1::ServerReflectionRequest,
                    v1::ServerReflectionResponse>(channel_);
  });
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_P(GrpcServerTest, StreamsOfReflectionAreBoundedAndReused) {
  auto stub = ServerReflection::NewStub(channel_);
  // Opens streams until one is refused, ends all, half of them by a cancel; returns how many.
  const auto fill = [&](grpc::Status* refused) {
    std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
    std::vector<std::unique_ptr<
        grpc::ClientReaderWriter<ServerReflectionRequest, ServerReflectionResponse>>>
        open;
    ServerReflectionResponse response;
    *refused = grpc::Status::OK;
    while (refused->ok() && open.size() < 100) {
      contexts.push_back(std::make_unique<grpc::ClientContext>());
      open.push_back(stub->ServerReflectionInfo(contexts.back().get()));
      if (!open.back()->Write(Symbol("no.Such")) || !open.back()->Read(&response)) {
        *refused = open.back()->Finish();
      }
    }
    for (size_t i = 0; i + 1 < open.size(); ++i) {
      if (i % 2 == 0) {
        contexts[i]->TryCancel();
        EXPECT_EQ(open[i]->Finish().error_code(), StatusCode::CANCELLED);
      } else {
        open[i]->WritesDone();
        EXPECT_TRUE(open[i]->Finish().ok());
      }
    }
    return open.size();
  };
  for (int round = 0; round < 3; ++round) {
    // In later rounds the server may not have heard yet that the last round's streams ended.
    size_t opened = 0;
    for (int i = 0; i == 0 || (round > 0 && opened != 17 && i < 1000); ++i) {
      const grpc::Status status = Ask([&] {
        grpc::Status refused;
        opened = fill(&refused);
        return refused;
      });
      EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
      EXPECT_LE(opened, 17u);
    }
    EXPECT_EQ(opened, 17u);
  }
}

TEST_P(GrpcServerTest, DrainEndsAStreamOfReflection) {
  auto stub = ServerReflection::NewStub(channel_);
  std::atomic<bool> reading = false;
  std::atomic<bool> over = false;
  auto answer = std::async(std::launch::async, [&] {
    grpc::ClientContext context;
    auto stream = stub->ServerReflectionInfo(&context);
    ServerReflectionResponse response;
    EXPECT_TRUE(stream->Write(Symbol("no.Such")) && stream->Read(&response));
    reading = true;
    EXPECT_FALSE(stream->Read(&response));
    const grpc::Status status = stream->Finish();
    over = true;
    return status;
  });
  Turn([&] { return reading.load(); });
  server_->Drain();
  Turn([&] { return over.load(); });
  EXPECT_EQ(answer.get().error_code(), StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace millrace
