// Who is let in over gRPC: every method of every service that is served, on a real connection.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <grpcpp/generic/generic_stub.h>

#include <set>

#include "common/api/reflection.grpc.pb.h"
#include "common/api/reflection_v1.grpc.pb.h"
#include "services/ingress/access/key_file_for_test.h"
#include "services/ingress/grpc/grpc_server_fixture_for_test.h"
#include "services/ingress/grpc/method_scopes.h"

namespace millrace {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::MethodDescriptor;
using grpc::StatusCode;
using ::testing::HasSubstr;

std::vector<const MethodDescriptor*> Methods() {
  std::vector<const MethodDescriptor*> methods;
  for (const char* name : {inference::GRPCInferenceService::service_full_name(),
                           grpc::health::v1::Health::service_full_name(),
                           grpc::reflection::v1::ServerReflection::service_full_name(),
                           grpc::reflection::v1alpha::ServerReflection::service_full_name()}) {
    const auto* service = DescriptorPool::generated_pool()->FindServiceByName(name);
    EXPECT_NE(service, nullptr) << name;
    if (service == nullptr) continue;
    for (int i = 0; i < service->method_count(); ++i) methods.push_back(service->method(i));
  }
  return methods;
}

TEST(MethodScopes, AreOfTheMethodsThatAreServedAndOfNoOther) {
  std::set<std::string> served, listed;
  for (const MethodDescriptor* method : Methods()) served.insert(method->name());
  for (const MethodScope& row : MethodScopes()) {
    EXPECT_TRUE(listed.insert(std::string(row.method)).second) << row.method;
  }
  EXPECT_EQ(listed, served);
}

// By the names' words, as the HTTP routes are by theirs.
TEST(MethodScopes, AreWhatTheNamesSay) {
  for (const MethodDescriptor* method : Methods()) {
    const std::string& name = method->name();
    const auto has = [&](const char* word) { return name.find(word) != std::string::npos; };
    Scope want = kScopeInfer;
    if (has("Statistics")) want = kScopeMetrics;
    if (has("Repository") || has("Setting")) want = kScopeAdmin;
    if (name == "ServerLive" || name == "ServerReady") want = kScopeNone;
    if (method->file()->package() != "inference") want = kScopeNone;
    EXPECT_EQ(ScopeOfMethod(name), want) << method->full_name();
  }
}

class GrpcAccessTest : public GrpcServerTest {
 protected:
  void SetUp() override {
    GrpcServerOptions options;
    options.keys = KeysForTest();
    Start(options);
  }

  // One empty message on any method, with these metadata.
  grpc::Status Call(const std::string& method, const std::string& name, const std::string& value,
                    grpc::ClientContext* context) {
    if (!name.empty()) context->AddMetadata(name, value);
    context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    grpc::GenericStub stub(channel_);
    grpc::CompletionQueue queue;
    const grpc::Slice nothing;
    const grpc::ByteBuffer request(&nothing, 1);
    grpc::ByteBuffer response;
    grpc::Status status;
    const grpc::Status ended = Ask([&] {
      auto reader = stub.PrepareUnaryCall(context, method, request, &queue);
      reader->StartCall();
      reader->Finish(&response, &status, this);
      void* tag;
      bool ok;
      queue.Next(&tag, &ok);
      return grpc::Status::OK;
    });
    EXPECT_TRUE(ended.ok());
    queue.Shutdown();
    void* tag;
    bool ok;
    while (queue.Next(&tag, &ok)) continue;
    return status;
  }

  StatusCode Code(const MethodDescriptor* method, const std::string& key) {
    grpc::ClientContext context;
    const std::string path = "/" + method->service()->full_name() + "/" + method->name();
    return Call(path, key.empty() ? "" : "x-api-key", key, &context).error_code();
  }
};

INSTANTIATE_TEST_SUITE_P(Sockets, GrpcAccessTest,
                         ::testing::Values(SocketKind::kTcp, SocketKind::kUnix),
                         [](const auto& info) {
                           return info.param == SocketKind::kTcp ? "Tcp" : "Unix";
                         });

bool Refused(StatusCode code) {
  return code == StatusCode::UNAUTHENTICATED || code == StatusCode::PERMISSION_DENIED;
}

TEST_P(GrpcAccessTest, EveryMethodAsksForItsScope) {
  const std::pair<std::string, Scope> kKeys[] = {
      {"infer", kScopeInfer}, {"admin", kScopeAdmin}, {"metrics", kScopeMetrics}};
  for (const MethodDescriptor* method : Methods()) {
    if (method->name() == "Watch") continue;  // has no end; it asks nobody
    const Scope scope = ScopeOfMethod(method->name());
    const std::string& name = method->full_name();
    EXPECT_EQ(Code(method, "") == StatusCode::UNAUTHENTICATED, scope != kScopeNone) << name;
    EXPECT_EQ(Code(method, "unknown") == StatusCode::UNAUTHENTICATED, scope != kScopeNone) << name;
    for (const auto& [key, its] : kKeys) {
      const StatusCode code = Code(method, key);
      EXPECT_EQ(Refused(code), scope != kScopeNone && scope != its) << name << " by " << key;
      EXPECT_NE(code, StatusCode::UNAUTHENTICATED) << name << " by " << key;
    }
  }
  EXPECT_TRUE(frontend_.seen().empty());
}

TEST_P(GrpcAccessTest, AKeyIsShownInEitherFieldAndARefusalSaysWhenToComeAgain) {
  const auto infer = [&](const char* name, const char* value, grpc::ClientContext* context) {
    if (*name != 0) context->AddMetadata(name, value);
    inference::ModelInferResponse response;
    return Infer(Request(), &response, context);
  };
  grpc::ClientContext bearer, plain, none, wrong, once, again;
  EXPECT_TRUE(infer("authorization", "Bearer infer", &bearer).ok());
  EXPECT_TRUE(infer("x-api-key", "infer", &plain).ok());
  EXPECT_EQ(infer("", "", &none).error_message(), "an API key is needed");
  EXPECT_EQ(infer("authorization", "Basic infer", &wrong).error_code(),
            StatusCode::UNAUTHENTICATED);
  EXPECT_TRUE(infer("x-api-key", "once", &once).ok());
  const grpc::Status refused = infer("x-api-key", "once", &again);
  EXPECT_EQ(refused.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  const auto pushback = again.GetServerTrailingMetadata().find("grpc-retry-pushback-ms");
  ASSERT_NE(pushback, again.GetServerTrailingMetadata().end());
  // The end of the quota's period is far away.
  EXPECT_GT(std::stoll(std::string(pushback->second.data(), pushback->second.size())), 1000);
  EXPECT_EQ(frontend_.seen().size(), 3u);
  EXPECT_EQ(frontend_.quota_refusals(), 1u);
}

TEST_P(GrpcAccessTest, AStreamIsAskedAtItsStartAndCountsItsRequests) {
  for (const char* key : {"", "unknown", "metrics", "once"}) {
    std::vector<inference::ModelStreamInferResponse> answers;
    const grpc::Status status = Ask([&] {
      grpc::ClientContext context;
      if (*key != 0) context.AddMetadata("x-api-key", key);
      auto stream = stub_->ModelStreamInfer(&context);
      stream->Write(Request());
      stream->Write(Request());
      stream->WritesDone();
      inference::ModelStreamInferResponse answer;
      while (stream->Read(&answer)) answers.push_back(answer);
      return stream->Finish();
    });
    if (std::string(key) != "once") {
      EXPECT_TRUE(Refused(status.error_code())) << key;
      EXPECT_TRUE(answers.empty()) << key;
      continue;
    }
    EXPECT_TRUE(status.ok()) << status.error_message();
    ASSERT_EQ(answers.size(), 2u);
    int refused = 0;
    for (const auto& answer : answers) {
      if (answer.error_message().empty()) continue;
      ++refused;
      EXPECT_THAT(answer.error_message(), HasSubstr("over its rate or quota"));
      const auto& parameters = answer.infer_response().parameters();
      EXPECT_EQ(parameters.at("status").string_param(), "RESOURCE_EXHAUSTED");
      EXPECT_GT(parameters.at("retry_pushback_ms").int64_param(), 1000);
    }
    EXPECT_EQ(refused, 1);
  }
  EXPECT_EQ(frontend_.seen().size(), 1u);
}

// Of calls and of each message of a stream.
TEST_P(GrpcAccessTest, ARouteKnowsMetadataKeyAndOwner) {
  std::vector<std::string> why;
  frontend_.set_resolver(ResolverForTest(&why));
  const auto ask = [&](const char* key, const char* stage, bool stream,
                       const char* client_key = nullptr) {
    why.clear();
    grpc::ClientContext context;
    context.AddMetadata("authorization", std::string("Bearer ") + key);
    if (stage != nullptr) context.AddMetadata("x-stage", stage);
    inference::ModelInferRequest request = Request();
    if (client_key != nullptr) {
      (*request.mutable_parameters())["millrace-client-key"].set_string_param(client_key);
    }
    grpc::Status status;
    if (stream) {
      status = Ask([&] {
        inference::ModelStreamInferResponse response;
        auto call = stub_->ModelStreamInfer(&context);
        call->Write(request);
        call->WritesDone();
        while (call->Read(&response)) {
        }
        return call->Finish();
      });
    } else {
      inference::ModelInferResponse response;
      status = Infer(request, &response, &context);
    }
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(why.size(), 1u) << "a request is routed once";
    EXPECT_EQ(frontend_.seen().back().version, why.at(0).empty() ? "" : "2");
    return why.at(0);
  };
  for (const bool stream : {false, true}) {
    EXPECT_EQ(ask("infer", nullptr, stream), "") << stream;
    EXPECT_EQ(ask("infer", "canary", stream), "header") << stream;
    EXPECT_EQ(ask("infer", "other", stream), "") << stream;
    EXPECT_EQ(ask("all", nullptr, stream), "tenant") << stream;
    EXPECT_EQ(ask("all", "canary", stream), "header tenant") << stream;
    EXPECT_EQ(ask("infer", nullptr, stream, "me"), "key") << stream;
  }
}

}  // namespace
}  // namespace millrace
