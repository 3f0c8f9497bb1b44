// A call's trace, in its metadata and in its answer's.
#include <gtest/gtest.h>

#include "services/ingress/grpc/grpc_server_fixture_for_test.h"

namespace millrace {
namespace {

constexpr char kParent[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
constexpr char kOurs[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000abc-01";

using GrpcTraceTest = GrpcServerTest;
INSTANTIATE_TEST_SUITE_P(Sockets, GrpcTraceTest, ::testing::Values(SocketKind::kTcp));

std::string Told(const grpc::ClientContext& context, const char* name) {
  const auto& metadata = context.GetServerInitialMetadata();
  const auto at = metadata.find(name);
  return at == metadata.end() ? "" : std::string(at->second.data(), at->second.size());
}

TEST_P(GrpcTraceTest, AClientsTraceIsHandedOnAndOurSpanTold) {
  frontend_.set_traces(true);
  inference::ModelInferResponse response;
  grpc::ClientContext context;
  context.AddMetadata("traceparent", kParent);
  context.AddMetadata("tracestate", "a=1,b=2");
  ASSERT_TRUE(Infer(Request(), &response, &context).ok());
  const FakeRequest& seen = frontend_.seen().back();
  EXPECT_EQ(HexOf(seen.trace.parent.span), "00f067aa0ba902b7");
  EXPECT_EQ(seen.trace_state, "a=1,b=2");
  EXPECT_EQ(seen.trace.method, TraceMethod::kGrpcInfer);
  EXPECT_GT(seen.trace.entered_ns, 0);
  EXPECT_EQ(Told(context, "traceparent"), kOurs);
  EXPECT_EQ(Told(context, "tracestate"), "a=1,b=2");
  // Another call's decoder is the same one.
  ASSERT_TRUE(Infer(Request(), &response).ok());
  EXPECT_FALSE(frontend_.seen().back().trace.parent.valid());
  EXPECT_EQ(frontend_.seen().back().trace_state, "");
}

TEST_P(GrpcTraceTest, AnErrorNamesItsTraceToo) {
  frontend_.set_traces(true);
  frontend_.set_answerer([](const FakeRequest&) {
    return FakeAnswer{absl::InternalError("no"), "", "", {}};
  });
  inference::ModelInferResponse response;
  grpc::ClientContext context;
  context.AddMetadata("traceparent", kParent);
  EXPECT_EQ(Infer(Request(), &response, &context).error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_EQ(Told(context, "traceparent"), kOurs);
}

TEST_P(GrpcTraceTest, EachRequestOfAStreamIsOfTheStreamsTrace) {
  frontend_.set_traces(true);
  EXPECT_TRUE(Ask([&] {
                grpc::ClientContext context;
                context.AddMetadata("traceparent", kParent);
                auto stream = stub_->ModelStreamInfer(&context);
                inference::ModelStreamInferResponse response;
                for (int i = 0; i < 2; ++i) {
                  if (!stream->Write(Request()) || !stream->Read(&response)) break;
                }
                stream->WritesDone();
                return stream->Finish();
              }).ok());
  ASSERT_EQ(frontend_.seen().size(), 2u);
  for (const FakeRequest& seen : frontend_.seen()) {
    EXPECT_EQ(HexOf(seen.trace.parent.span), "00f067aa0ba902b7");
    EXPECT_EQ(seen.trace.method, TraceMethod::kGrpcStream);
    EXPECT_GT(seen.trace.entered_ns, 0);
  }
}

TEST_P(GrpcTraceTest, WhereNothingIsTracedTheMetadataAreNotRead) {
  inference::ModelInferResponse response;
  grpc::ClientContext context;
  context.AddMetadata("traceparent", kParent);
  ASSERT_TRUE(Infer(Request(), &response, &context).ok());
  EXPECT_FALSE(frontend_.seen().back().trace.parent.valid());
  EXPECT_EQ(Told(context, "traceparent"), "");
}

}  // namespace
}  // namespace millrace
