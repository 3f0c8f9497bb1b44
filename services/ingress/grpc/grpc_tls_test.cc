// gRPC over TLS: who is let in, and certificates that change under a running server.
#include "common/testing/certificates_for_test.h"
#include "services/ingress/grpc/grpc_server_fixture_for_test.h"

namespace millrace {
namespace {

using grpc::StatusCode;

class GrpcTlsTest : public GrpcServerTest {
 protected:
  void SetUp() override {
    Write(authority_.Issue("first"));
    Start(options_);
  }

  void Write(const TestIdentity& identity) {
    options_.tls.certificate = WriteTestFile("server.pem", identity.certificate);
    options_.tls.key = WriteTestFile("server.key", identity.key);
  }

  // What a new client hears that trusts `authority` and shows `identity`.
  grpc::Status Visit(const TestAuthority& authority, const TestIdentity& identity = {}) {
    return VisitBy(
        grpc::SslCredentials({authority.certificate(), identity.key, identity.certificate}));
  }
  grpc::Status VisitBy(const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
    arguments.SetSslTargetNameOverride("localhost");
    channel_ = grpc::CreateCustomChannel(socket_.target(), credentials, arguments);
    stub_ = inference::GRPCInferenceService::NewStub(channel_);
    inference::ModelInferResponse response;
    const grpc::Status status = Infer(Request(), &response);
    if (status.ok()) {
      EXPECT_EQ(response.raw_output_contents(0), std::string(12, 'r'));
    }
    return status;
  }

  TestAuthority authority_{"authority"};
  TestAuthority clients_{"clients"};
  GrpcServerOptions options_;
};

INSTANTIATE_TEST_SUITE_P(Sockets, GrpcTlsTest,
                         ::testing::Values(SocketKind::kTcp, SocketKind::kUnix),
                         [](const auto& info) {
                           return info.param == SocketKind::kTcp ? "Tcp" : "Unix";
                         });

TEST_P(GrpcTlsTest, ServesWhoTrustsItAndNoOther) {
  EXPECT_EQ(Visit(authority_).error_code(), StatusCode::OK);
  EXPECT_EQ(Visit(clients_).error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(VisitBy(grpc::InsecureChannelCredentials()).error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(frontend_.seen().size(), 1u);
  EXPECT_EQ(Visit(authority_).error_code(), StatusCode::OK);
}

TEST_P(GrpcTlsTest, DemandsClientsCertificates) {
  options_.tls.client_ca = WriteTestFile("clients.pem", clients_.certificate());
  server_->Shutdown(0);
  Start(options_);
  EXPECT_EQ(Visit(authority_).error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(Visit(authority_, authority_.Issue("stranger")).error_code(), StatusCode::UNAVAILABLE);
  EXPECT_TRUE(frontend_.seen().empty());
  EXPECT_EQ(Visit(authority_, clients_.Issue("client")).error_code(), StatusCode::OK);
}

TEST_P(GrpcTlsTest, TakesChangedFiles) {
  const TestAuthority next("next");
  EXPECT_EQ(Visit(next).error_code(), StatusCode::UNAVAILABLE);
  Write(next.Issue("second"));
  const int64_t give_up_ns = MonotonicNanos() + kLimitNs;
  grpc::Status status;
  do {
    status = Visit(next);
  } while (!status.ok() && MonotonicNanos() < give_up_ns);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

}  // namespace
}  // namespace millrace
