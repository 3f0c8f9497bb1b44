// What each method answers, over real sockets.
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>

#include "services/ingress/grpc/grpc_server_fixture_for_test.h"
#include "services/ingress/request_size.h"

namespace millrace {
namespace {

using grpc::StatusCode;
using grpc::health::v1::HealthCheckResponse;
using inference::ModelInferRequest;
using inference::ModelInferResponse;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

INSTANTIATE_TEST_SUITE_P(Sockets, GrpcServerTest,
                         ::testing::Values(SocketKind::kTcp, SocketKind::kUnix),
                         [](const auto& info) {
                           return info.param == SocketKind::kTcp ? "Tcp" : "Unix";
                         });

TEST_P(GrpcServerTest, InferEchoesWhatTheFrontendAnswers) {
  ModelInferRequest request = Request("abcdefghijkl");
  request.add_outputs()->set_name("prediction");
  (*request.mutable_parameters())["priority"].set_uint64_param(1);
  ModelInferResponse response;
  const grpc::Status status = Infer(request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.model_name(), "plain");
  EXPECT_EQ(response.model_version(), "1");
  EXPECT_EQ(response.id(), "request one");
  ASSERT_EQ(response.outputs_size(), 1);
  EXPECT_EQ(response.outputs(0).name(), "input");
  EXPECT_EQ(response.outputs(0).datatype(), "FP32");
  EXPECT_THAT(response.outputs(0).shape(), ElementsAre(1, 3));
  EXPECT_THAT(response.raw_output_contents(), ElementsAre("abcdefghijkl"));

  ASSERT_EQ(frontend_.seen().size(), 1u);
  const FakeRequest& seen = frontend_.seen()[0];
  EXPECT_EQ(seen.model, "plain");
  EXPECT_THAT(seen.outputs, ElementsAre("prediction"));
  EXPECT_EQ(seen.priority, 1u);
  EXPECT_EQ(seen.deadline_ns, 0);
}

TEST_P(GrpcServerTest, TypedContentsReachTheFrontendAsBytes) {
  ModelInferRequest request = Request();
  request.clear_raw_input_contents();
  for (float f : {1.0F, 2.0F, 3.0F}) {
    request.mutable_inputs(0)->mutable_contents()->add_fp32_contents(f);
  }
  ModelInferResponse response;
  ASSERT_TRUE(Infer(request, &response).ok());
  const float floats[] = {1, 2, 3};
  EXPECT_THAT(response.raw_output_contents(),
              ElementsAre(std::string(reinterpret_cast<const char*>(floats), sizeof floats)));
}

TEST_P(GrpcServerTest, OutputsAreClassified) {
  const float floats[] = {1, 3, 2};
  ModelInferRequest request =
      Request(std::string(reinterpret_cast<const char*>(floats), sizeof floats));
  request.add_outputs()->set_name("prediction");
  auto& k = (*request.mutable_outputs(0)->mutable_parameters())["classification"];
  k.set_int64_param(2);
  ModelInferResponse response;
  ASSERT_TRUE(Infer(request, &response).ok());
  EXPECT_EQ(response.outputs(0).datatype(), "BYTES");
  EXPECT_THAT(response.outputs(0).shape(), ElementsAre(1, 2));
  const std::string bytes("\x0a\0\0\0003.000000:1\x0a\0\0\0002.000000:2", 28);
  EXPECT_THAT(response.raw_output_contents(), ElementsAre(bytes));

  // Nothing of it is left to the call's next request.
  request.clear_outputs();
  ASSERT_TRUE(Infer(request, &response).ok());
  EXPECT_EQ(response.outputs(0).datatype(), "FP32");

  request.set_model_name("viewed");
  request.add_outputs()->set_name("label");
  (*request.mutable_outputs(0)->mutable_parameters())["classification"].set_int64_param(2);
  const size_t asked = frontend_.seen().size();
  const grpc::Status status = Infer(request, &response);
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(),
            "outputs[0] \"label\": parameters[\"classification\"]: is for outputs of numbers, and "
            "this one is BYTES");
  EXPECT_EQ(frontend_.seen().size(), asked);
}

// No model that is live could take it: refused before it is parsed, also on a stream.
TEST_P(GrpcServerTest, MessagesOverTheLargestModelsLimit) {
  auto catalog = std::make_shared<Catalog>();
  *catalog->add_models() = FakeCatalog()->models(0);
  frontend_.set_catalog(catalog);
  const size_t limit = LargestMessage(size_t{1} << 20).Bytes(catalog);
  ASSERT_LT(limit, size_t{1} << 20);
  ModelInferRequest request = Request();
  ModelInferResponse response;
  const auto fill = [&](size_t bytes) {  // of the message
    std::string* raw = request.mutable_raw_input_contents(0);
    raw->assign(limit - 100, 'x');
    raw->resize(raw->size() + bytes - request.ByteSizeLong());
  };
  fill(limit);
  EXPECT_TRUE(Infer(request, &response).ok());
  const size_t asked = frontend_.seen().size();
  fill(limit + 1);
  const grpc::Status status = Infer(request, &response);
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("the most that any model here takes"));
  EXPECT_EQ(Ask([&] {
              grpc::ClientContext context;
              const auto stream = stub_->ModelStreamInfer(&context);
              stream->Write(request);
              stream->WritesDone();
              inference::ModelStreamInferResponse answer;
              EXPECT_TRUE(stream->Read(&answer));
              EXPECT_THAT(answer.error_message(), HasSubstr("the most that any model here takes"));
              return stream->Finish();
            }).error_code(),
            StatusCode::OK);
  EXPECT_EQ(frontend_.seen().size(), asked);
  // A larger model that goes live takes the limit with it.
  frontend_.set_catalog(FakeCatalog());
  EXPECT_TRUE(Infer(request, &response).ok());
}

TEST_P(GrpcServerTest, OtherMethodsSpeakOfServerAndModels) {
  GrpcServerOptions options;
  options.server_version = "9.8";
  options.extensions = {"one", "two"};
  Start(options);

  inference::ServerLiveResponse live;
  ASSERT_TRUE(Ask([&] {
                grpc::ClientContext context;
                return stub_->ServerLive(&context, {}, &live);
              }).ok());
  EXPECT_TRUE(live.live());

  EXPECT_TRUE(ServerReady());
  frontend_.set_ready(false);
  EXPECT_FALSE(ServerReady());
  frontend_.set_ready(true);

  inference::ServerMetadataResponse server;
  ASSERT_TRUE(Ask([&] {
                grpc::ClientContext context;
                return stub_->ServerMetadata(&context, {}, &server);
              }).ok());
  EXPECT_EQ(server.name(), "millrace");
  EXPECT_EQ(server.version(), "9.8");
  EXPECT_THAT(server.extensions(), ElementsAre("one", "two"));

  const auto metadata = [&](const char* name, inference::ModelMetadataResponse* model) {
    return Ask([&] {
      inference::ModelMetadataRequest request;
      request.set_name(name);
      grpc::ClientContext context;
      return stub_->ModelMetadata(&context, request, model);
    });
  };
  inference::ModelMetadataResponse model;
  ASSERT_TRUE(metadata("plain", &model).ok());
  EXPECT_THAT(model.versions(), ElementsAre("1", "2"));
  EXPECT_THAT(model.inputs(0).shape(), ElementsAre(-1, 3));
  EXPECT_EQ(metadata("nobody", &model).error_code(), StatusCode::NOT_FOUND);
  frontend_.set_catalog(nullptr);
  EXPECT_EQ(metadata("plain", &model).error_code(), StatusCode::UNAVAILABLE);
}

TEST_P(GrpcServerTest, ConfigAndIndexSpeakOfTheCatalog) {
  const auto config = [&](const char* name, inference::ModelConfigResponse* response) {
    return Ask([&] {
      inference::ModelConfigRequest request;
      request.set_name(name);
      grpc::ClientContext context;
      return stub_->ModelConfig(&context, request, response);
    });
  };
  inference::ModelConfigResponse model;
  ASSERT_TRUE(config("plain", &model).ok());
  EXPECT_EQ(model.config().name(), "plain");
  EXPECT_EQ(model.config().max_batch_size(), 1024);
  EXPECT_THAT(model.config().input(0).dims(), ElementsAre(3));
  EXPECT_EQ(config("nobody", &model).error_code(), StatusCode::NOT_FOUND);

  const auto index = [&](const char* repository, bool ready, size_t* count) {
    inference::RepositoryIndexResponse response;
    const grpc::Status status = Ask([&] {
      inference::RepositoryIndexRequest request;
      request.set_repository_name(repository);
      request.set_ready(ready);
      grpc::ClientContext context;
      return stub_->RepositoryIndex(&context, request, &response);
    });
    *count = response.models_size();
    return status.error_code();
  };
  size_t count = 0;
  EXPECT_EQ(index("", false, &count), StatusCode::OK);
  EXPECT_EQ(count, 5u);
  EXPECT_EQ(index("", true, &count), StatusCode::OK);
  EXPECT_EQ(count, 4u);
  EXPECT_EQ(index("second", false, &count), StatusCode::UNIMPLEMENTED);
  server_->Drain();
  EXPECT_EQ(index("", true, &count), StatusCode::OK);
  EXPECT_EQ(count, 0u);

  frontend_.set_catalog(nullptr);
  EXPECT_EQ(config("plain", &model).error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(index("", false, &count), StatusCode::UNAVAILABLE);
}

TEST_P(GrpcServerTest, ModelReadyTellsUnreadyFromUnknown) {
  const auto ready = [&](const char* name, const char* version, bool* value) {
    inference::ModelReadyResponse response;
    const grpc::Status status = Ask([&] {
      inference::ModelReadyRequest request;
      request.set_name(name);
      request.set_version(version);
      grpc::ClientContext context;
      return stub_->ModelReady(&context, request, &response);
    });
    *value = response.ready();
    return status.error_code();
  };
  bool value = false;
  EXPECT_EQ(ready("plain", "", &value), StatusCode::OK);
  EXPECT_TRUE(value);
  EXPECT_EQ(ready("plain", "7", &value), StatusCode::NOT_FOUND);
  EXPECT_EQ(ready("nobody", "", &value), StatusCode::NOT_FOUND);
  frontend_.set_ready(false);
  EXPECT_EQ(ready("plain", "", &value), StatusCode::OK);
  EXPECT_FALSE(value);
}

TEST_P(GrpcServerTest, HealthFollowsTheFrontend) {
  HealthCheckResponse response;
  for (const char* service : {"", "inference.GRPCInferenceService"}) {
    ASSERT_TRUE(Check(service, &response).ok());
    EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  }
  EXPECT_EQ(Check("another.Service", &response).error_code(), StatusCode::NOT_FOUND);
  frontend_.set_ready(false);
  ASSERT_TRUE(Check("", &response).ok());
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
}

TEST_P(GrpcServerTest, BadInputIsNamedAndTheServerGoesOn) {
  ModelInferResponse response;
  ModelInferRequest request = Request();
  request.mutable_inputs(0)->set_datatype("FLOAT");
  grpc::Status status = Infer(request, &response);
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("inputs[0] \"input\": datatype \"FLOAT\""));

  request = Request();
  request.mutable_inputs(0)->mutable_contents()->add_fp32_contents(1);
  status = Infer(request, &response);
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("raw_input_contents"));

  EXPECT_THAT(frontend_.seen(), IsEmpty());
  EXPECT_TRUE(Infer(Request(), &response).ok());
}

// Bytes of any kind to any method, by a client without our messages.
TEST_P(GrpcServerTest, WhatIsNotProtobufIsInvalidArgument) {
  grpc::GenericStub generic(channel_);
  const auto ask = [&](const std::string& method, const std::string& bytes) {
    return Ask([&] {
      grpc::ClientContext context;
      grpc::CompletionQueue queue;
      const grpc::Slice slice(bytes);
      const grpc::ByteBuffer request(&slice, 1);
      grpc::ByteBuffer reply;
      grpc::Status status;
      auto reader = generic.PrepareUnaryCall(&context, method, request, &queue);
      reader->StartCall();
      reader->Finish(&reply, &status, nullptr);
      void* tag;
      bool ok;
      queue.Next(&tag, &ok);
      return status;
    });
  };
  const std::string service = "/inference.GRPCInferenceService/";
  for (const char* method : {"ModelInfer", "ModelReady", "ModelMetadata", "ServerLive"}) {
    const grpc::Status status = ask(service + method, "\xff\xff\xff");
    EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT) << method;
    EXPECT_THAT(status.error_message(), HasSubstr("not a valid")) << method;
  }
  EXPECT_EQ(ask(service + "CudaSharedMemoryStatus", "").error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(ask("/grpc.health.v1.Health/List", "").error_code(), StatusCode::UNIMPLEMENTED);
  ModelInferResponse response;
  EXPECT_TRUE(Infer(Request(), &response).ok());
}

TEST_P(GrpcServerTest, ARequestOverTheLimitIsResourceExhausted) {
  GrpcServerOptions options;
  options.max_message_bytes = 100'000;
  Start(options);
  ModelInferResponse response;
  EXPECT_TRUE(Infer(Request(std::string(12 * 8000, 'x')), &response).ok());
  EXPECT_EQ(response.raw_output_contents(0), std::string(12 * 8000, 'x'));
  const grpc::Status status = Infer(Request(std::string(12 * 9000, 'x')), &response);
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  EXPECT_EQ(frontend_.seen().size(), 1u);
  EXPECT_TRUE(Infer(Request(), &response).ok());
}

TEST_P(GrpcServerTest, ACompressedRequestIsUnimplementedNotUnpacked) {
  grpc::ClientContext context;
  context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  ModelInferResponse response;
  const grpc::Status status = Infer(Request(std::string(120'000, 'x')), &response, &context);
  EXPECT_EQ(status.error_code(), StatusCode::UNIMPLEMENTED) << status.error_message();
  EXPECT_THAT(frontend_.seen(), IsEmpty());
  EXPECT_TRUE(Infer(Request(), &response).ok());
}

TEST_P(GrpcServerTest, MegabytesGoThroughBothWays) {
  const std::string raw(12 * 80'000, 'm');
  ModelInferResponse response;
  ASSERT_TRUE(Infer(Request(raw), &response).ok());
  EXPECT_EQ(response.raw_output_contents(0), raw);
}

TEST_P(GrpcServerTest, StatusesOfTheFrontendAreTheClients) {
  for (int code = 1; code <= 16; ++code) {
    frontend_.set_answerer([code](const FakeRequest&) {
      return FakeAnswer{
          absl::Status(static_cast<absl::StatusCode>(code), "field x: why"), "", "", {}};
    });
    ModelInferResponse response;
    grpc::ClientContext context;
    const grpc::Status status = Infer(Request(), &response, &context);
    EXPECT_EQ(static_cast<int>(status.error_code()), code);
    EXPECT_EQ(status.error_message(), "field x: why");
    const auto& trailers = context.GetServerTrailingMetadata();
    const auto hint = trailers.find("grpc-retry-pushback-ms");
    if (status.error_code() == StatusCode::UNAVAILABLE) {
      ASSERT_NE(hint, trailers.end());
      EXPECT_EQ(hint->second, "100");
    } else {
      EXPECT_EQ(hint, trailers.end()) << code;
    }
  }
}

TEST_P(GrpcServerTest, ARefusalSaysWhenToComeAgain) {
  frontend_.set_answerer([](const FakeRequest&) {
    return FakeAnswer{absl::UnavailableError("full"), "", "", {}, 1234};
  });
  ModelInferResponse response;
  grpc::ClientContext context;
  EXPECT_FALSE(Infer(Request(), &response, &context).ok());
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto hint = trailers.find("grpc-retry-pushback-ms");
  ASSERT_NE(hint, trailers.end());
  EXPECT_EQ(hint->second, "1234") << "what the frontend predicts, not the server's own";
}

TEST_P(GrpcServerTest, HeadersOverTheLimitAreRefused) {
  grpc::ClientContext context;
  context.AddMetadata("long", std::string(20'000, 'h'));
  ModelInferResponse response;
  const grpc::Status refused = Infer(Request(), &response, &context);
  EXPECT_EQ(refused.error_code(), StatusCode::RESOURCE_EXHAUSTED) << refused.error_message();
  Connect();  // gRPC may close the connection that such headers came on
  EXPECT_TRUE(Infer(Request(), &response).ok());
}

TEST(GrpcServer, RefusesADescriptorThatDoesNotListen) {
  FakeFrontend frontend;
  EXPECT_FALSE(GrpcServer::Start(&frontend, GrpcServerOptions{}, -1).ok());
}

}  // namespace
}  // namespace millrace
