// The rules cc_proto and cc_grpc, exercised as a user of them would: messages that import each
// other across labels, a well-known type, and a service that answers over a loopback socket.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "third_party/protobuf/testdata/smoke_message.pb.h"
#include "third_party/protobuf/testdata/smoke_service.grpc.pb.h"

namespace millrace {
namespace {

class SummingService final : public smoke::Smoke::Service {
  grpc::Status Sum(grpc::ServerContext*, const smoke::Whole* whole, smoke::Part* sum) override {
    int total = 0;
    for (const smoke::Part& part : whole->parts()) total += part.number();
    sum->set_number(total);
    return grpc::Status::OK;
  }
};

TEST(ProtoRules, WellKnownTypesAndImportsSurviveARoundTrip) {
  smoke::Whole whole;
  whole.add_parts()->set_number(7);
  whole.mutable_value()->set_string_value("text");
  smoke::Whole copy;
  ASSERT_TRUE(copy.ParseFromString(whole.SerializeAsString()));
  ASSERT_EQ(copy.parts_size(), 1);
  EXPECT_EQ(copy.parts(0).number(), 7);
  EXPECT_EQ(copy.value().string_value(), "text");
}

TEST(ProtoRules, AServiceAnswersACall) {
  SummingService service;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  ASSERT_NE(server, nullptr);

  auto stub = smoke::Smoke::NewStub(
      grpc::CreateChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials()));
  smoke::Whole whole;
  whole.add_parts()->set_number(2);
  whole.add_parts()->set_number(40);
  smoke::Part sum;
  grpc::ClientContext context;
  const grpc::Status status = stub->Sum(&context, whole, &sum);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(sum.number(), 42);
  server->Shutdown();
}

}  // namespace
}  // namespace millrace
