// ModelStreamInfer over real sockets: many requests on one stream, errors, limits, every end.
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>

#include <algorithm>
#include <map>
#include <thread>

#include "services/ingress/grpc/grpc_server_fixture_for_test.h"

namespace millrace {
namespace {

using grpc::StatusCode;
using inference::ModelInferRequest;
using inference::ModelInferResponse;
using inference::ModelStreamInferResponse;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Mode = FakeFrontend::Mode;

// "000000000042": 12 bytes, a row of three FP32.
std::string Row(size_t i) {
  std::string row = std::to_string(i);
  return std::string(12 - row.size(), '0') + row;
}

ModelInferRequest Numbered(size_t i) {
  ModelInferRequest request = Request(Row(i));
  request.set_id("id " + std::to_string(i));
  return request;
}

// A client's side of one stream. What blocks runs on another thread while the lane turns.
class InferStreamsTest : public GrpcServerTest {
 protected:
  struct Client {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReaderWriter<ModelInferRequest, ModelStreamInferResponse>> stream;
  };

  bool Do(const std::function<bool()>& step) {
    return Ask([&] { return step() ? grpc::Status::OK : grpc::Status::CANCELLED; }).ok();
  }

  std::unique_ptr<Client> Begin(int64_t deadline_ms = 0) {
    auto client = std::make_unique<Client>();
    if (deadline_ms != 0) {
      client->context.set_deadline(std::chrono::system_clock::now() +
                                   std::chrono::milliseconds(deadline_ms));
    }
    Do([&] {
      client->stream = stub_->ModelStreamInfer(&client->context);
      return true;
    });
    return client;
  }

  bool Write(Client* client, const ModelInferRequest& request) {
    return Do([&] { return client->stream->Write(request); });
  }

  bool WriteNumbered(Client* client, size_t begin, size_t end) {
    return Do([&] {
      for (size_t i = begin; i < end; ++i) {
        if (!client->stream->Write(Numbered(i))) return false;
      }
      return true;
    });
  }

  ModelStreamInferResponse Read(Client* client) {
    ModelStreamInferResponse response;
    EXPECT_TRUE(Do([&] { return client->stream->Read(&response); }));
    return response;
  }

  // Answers by id, each checked to be its request's.
  std::map<std::string, int> ReadNumbered(Client* client, size_t count) {
    std::map<std::string, int> ids;
    EXPECT_TRUE(Do([&] {
      ModelStreamInferResponse response;
      for (size_t i = 0; i < count; ++i) {
        if (!client->stream->Read(&response)) return false;
        const ModelInferResponse& infer = response.infer_response();
        EXPECT_EQ(response.error_message(), "");
        EXPECT_EQ("id " + std::to_string(std::stoul(infer.raw_output_contents(0))), infer.id());
        ++ids[infer.id()];
      }
      return true;
    }));
    return ids;
  }

  // What is left to read must be nothing.
  grpc::Status End(Client* client) {
    return Ask([&] {
      ModelStreamInferResponse response;
      EXPECT_FALSE(client->stream->Read(&response)) << response.ShortDebugString();
      return client->stream->Finish();
    });
  }

  grpc::Status CloseAndEnd(Client* client) {
    Do([&] { return client->stream->WritesDone(); });
    return End(client);
  }

  void Idle() {
    Turn([&] { return server_->in_flight() == 0 && frontend_.in_flight() == 0; });
  }
};

INSTANTIATE_TEST_SUITE_P(Sockets, InferStreamsTest,
                         ::testing::Values(SocketKind::kTcp, SocketKind::kUnix),
                         [](const auto& info) {
                           return info.param == SocketKind::kTcp ? "Tcp" : "Unix";
                         });

TEST_P(InferStreamsTest, AnswersComeInOrderOfCompletionWithTheirIds) {
  frontend_.set_mode(Mode::kHold);
  auto client = Begin();
  ASSERT_TRUE(WriteNumbered(client.get(), 0, 3));
  Turn([&] { return frontend_.in_flight() == 3; });
  for (size_t i : {1, 2, 0}) {
    frontend_.Release(frontend_.seen()[i].id);
    const ModelStreamInferResponse response = Read(client.get());
    EXPECT_EQ(response.error_message(), "");
    EXPECT_EQ(response.infer_response().id(), "id " + std::to_string(i));
    EXPECT_THAT(response.infer_response().outputs(0).shape(), ElementsAre(1, 3));
    EXPECT_THAT(response.infer_response().raw_output_contents(), ElementsAre(Row(i)));
    EXPECT_TRUE(response.infer_response().parameters().empty());
  }
  EXPECT_TRUE(CloseAndEnd(client.get()).ok());
}

TEST_P(InferStreamsTest, AClientThatAsksIsToldThatAnAnswerIsTheLast) {
  ModelInferRequest request = Numbered(7);
  (*request.mutable_parameters())["triton_enable_empty_final_response"].set_bool_param(true);
  auto client = Begin();
  ASSERT_TRUE(Write(client.get(), request));
  const ModelInferResponse infer = Read(client.get()).infer_response();
  EXPECT_TRUE(infer.parameters().at("triton_final_response").bool_param());
  EXPECT_THAT(infer.raw_output_contents(), ElementsAre(Row(7)));
  EXPECT_TRUE(CloseAndEnd(client.get()).ok());
}

// The client says its last word while all are in flight; the next streams use the same objects.
TEST_P(InferStreamsTest, HundredsInFlightOfAClientThatHalfClosed) {
  GrpcServerOptions options;
  options.max_requests_per_stream = 1000;
  Start(options);
  constexpr size_t kRequests = 500;
  for (int round = 0; round < 3; ++round) {
    frontend_.set_mode(Mode::kHold);
    auto client = Begin();
    ASSERT_TRUE(WriteNumbered(client.get(), 0, kRequests));
    ASSERT_TRUE(Do([&] { return client->stream->WritesDone(); }));
    Turn([&] { return frontend_.in_flight() == kRequests; });
    EXPECT_EQ(server_->in_flight(), kRequests);
    frontend_.ReleaseAll();
    EXPECT_EQ(ReadNumbered(client.get(), kRequests).size(), kRequests);
    EXPECT_TRUE(End(client.get()).ok());
    Idle();
  }
  EXPECT_TRUE(frontend_.cancelled().empty());
}

TEST_P(InferStreamsTest, ACancelEndsAllRequestsOfItsStreamAndNoOthers) {
  frontend_.set_mode(Mode::kHold);
  auto other = Begin();
  ASSERT_TRUE(WriteNumbered(other.get(), 0, 1));
  Turn([&] { return frontend_.in_flight() == 1; });
  auto client = Begin();
  ASSERT_TRUE(WriteNumbered(client.get(), 0, 250));
  Turn([&] { return frontend_.in_flight() == 251; });
  for (size_t i = 1; i <= 100; ++i) frontend_.Release(frontend_.seen()[2 * i].id);
  EXPECT_EQ(ReadNumbered(client.get(), 100).size(), 100u);

  client->context.TryCancel();
  EXPECT_EQ(End(client.get()).error_code(), StatusCode::CANCELLED);
  Turn([&] { return server_->in_flight() == 1 && frontend_.in_flight() == 1; });
  EXPECT_EQ(frontend_.cancelled().size(), 150u);

  frontend_.ReleaseAll();
  EXPECT_EQ(ReadNumbered(other.get(), 1).size(), 1u);
  EXPECT_TRUE(CloseAndEnd(other.get()).ok());
  Idle();
}

TEST_P(InferStreamsTest, AnErrorIsItsRequestsAndTheStreamGoesOn) {
  auto client = Begin();
  ModelInferRequest bad = Numbered(1);
  bad.mutable_inputs(0)->set_datatype("FLOAT");
  ASSERT_TRUE(Write(client.get(), bad));
  ModelStreamInferResponse response = Read(client.get());
  EXPECT_THAT(response.error_message(), HasSubstr("inputs[0] \"input\": datatype \"FLOAT\""));
  EXPECT_EQ(response.infer_response().id(), "id 1");

  frontend_.set_answerer([](const FakeRequest&) {
    return FakeAnswer{absl::ResourceExhaustedError(""), "", "", {}, 1234};
  });
  ASSERT_TRUE(WriteNumbered(client.get(), 2, 3));
  response = Read(client.get());
  EXPECT_EQ(response.error_message(), "RESOURCE_EXHAUSTED") << "an empty one would be a success";
  EXPECT_EQ(response.infer_response().id(), "id 2");
  EXPECT_EQ(response.infer_response().outputs_size(), 0);
  EXPECT_EQ(response.infer_response().parameters().at("retry_pushback_ms").int64_param(), 1234);
  EXPECT_TRUE(CloseAndEnd(client.get()).ok());
}

TEST_P(InferStreamsTest, WhatIsNotProtobufIsAnErrorOfTheStream) {
  grpc::GenericStub generic(channel_);
  const grpc::Status status = Ask([&] {
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const auto next = [&] {
      void* tag;
      bool ok = false;
      return queue.Next(&tag, &ok) && ok;
    };
    auto call =
        generic.PrepareCall(&context, "/inference.GRPCInferenceService/ModelStreamInfer", &queue);
    call->StartCall(nullptr);
    EXPECT_TRUE(next());
    for (const std::string& bytes : {std::string("\xff\xff\xff"), Request().SerializeAsString()}) {
      const grpc::Slice slice(bytes);
      call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
      EXPECT_TRUE(next());
      grpc::ByteBuffer reply;
      call->Read(&reply, nullptr);
      EXPECT_TRUE(next());
      ModelStreamInferResponse response;
      EXPECT_TRUE(
          grpc::SerializationTraits<ModelStreamInferResponse>::Deserialize(&reply, &response).ok());
      EXPECT_EQ(response.error_message().empty(), bytes.size() > 3);
    }
    call->WritesDone(nullptr);
    EXPECT_TRUE(next());
    grpc::Status end;
    call->Finish(&end, nullptr);
    next();
    return end;
  });
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_P(InferStreamsTest, AStreamHoldsNoMoreThanItsLimit) {
  GrpcServerOptions options;
  options.max_requests_per_stream = 8;
  Start(options);
  frontend_.set_mode(Mode::kHold);
  auto client = Begin();
  std::atomic<bool> over = false;
  auto answers = std::async(std::launch::async, [&] {
    std::thread writer([&] {
      for (size_t i = 0; i < 100; ++i) EXPECT_TRUE(client->stream->Write(Numbered(i)));
      client->stream->WritesDone();
    });
    ModelStreamInferResponse response;
    size_t count = 0;
    while (client->stream->Read(&response)) ++count;
    writer.join();
    EXPECT_TRUE(client->stream->Finish().ok());
    over = true;
    return count;
  });
  size_t most = 0;
  Turn([&] {
    most = std::max({most, frontend_.in_flight(), server_->in_flight()});
    if (frontend_.in_flight() == 8 || frontend_.seen().size() == 100) frontend_.ReleaseAll();
    return over.load();
  });
  EXPECT_EQ(answers.get(), 100u);
  EXPECT_EQ(most, 8u);
}

// A client that writes and does not read: the server holds a limited number of answers for it.
TEST_P(InferStreamsTest, AClientThatDoesNotReadIsNotReadFrom) {
  GrpcServerOptions options;
  options.max_requests_per_stream = 4;
  Start(options);
  frontend_.set_answerer([](const FakeRequest& request) {
    FakeAnswer answer{absl::OkStatus(), request.model, "1", request.inputs};
    answer.outputs[0].raw.resize(300'000, 'x');
    return answer;
  });
  auto client = Begin();
  auto writer = std::async(std::launch::async, [&] {
    for (size_t i = 0; i < 100; ++i) EXPECT_TRUE(client->stream->Write(Numbered(i)));
    client->stream->WritesDone();
  });
  Turn([&] { return server_->in_flight() == 4; });
  for (int i = 0; i < 50; ++i) {
    server_->Wait(kNanosPerMilli);
    ASSERT_LE(server_->in_flight(), 4u);
  }
  EXPECT_LT(frontend_.seen().size(), 100u);
  size_t count = 0;
  EXPECT_TRUE(Ask([&] {
                ModelStreamInferResponse response;
                while (client->stream->Read(&response)) ++count;
                writer.wait();
                return client->stream->Finish();
              }).ok());
  EXPECT_EQ(count, 100u);
}

TEST_P(InferStreamsTest, TheDeadlineOfTheStreamIsThatOfItsRequests) {
  frontend_.set_mode(Mode::kHold);
  auto client = Begin(1000);
  ASSERT_TRUE(WriteNumbered(client.get(), 0, 2));
  ModelInferRequest hurried = Numbered(2);
  (*hurried.mutable_parameters())["timeout"].set_int64_param(1);
  ASSERT_TRUE(Write(client.get(), hurried));
  Turn([&] { return frontend_.seen().size() == 3; });
  EXPECT_NE(frontend_.seen()[0].deadline_ns, 0);
  EXPECT_NEAR(frontend_.seen()[0].deadline_ns, frontend_.seen()[1].deadline_ns, kNanosPerMilli);
  EXPECT_LT(frontend_.seen()[2].deadline_ns, frontend_.seen()[0].deadline_ns);
  EXPECT_EQ(End(client.get()).error_code(), StatusCode::DEADLINE_EXCEEDED);
  Idle();
  EXPECT_EQ(frontend_.cancelled().size(), 3u);
}

TEST_P(InferStreamsTest, AMessageOverTheLimitEndsItsStream) {
  GrpcServerOptions options;
  options.max_message_bytes = 100'000;
  Start(options);
  frontend_.set_mode(Mode::kHold);
  auto client = Begin();
  ASSERT_TRUE(WriteNumbered(client.get(), 0, 2));
  Turn([&] { return frontend_.in_flight() == 2; });
  Write(client.get(), Request(std::string(120'000, 'x')));
  const grpc::Status status = End(client.get());
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  Idle();
  EXPECT_EQ(frontend_.cancelled().size(), 2u);
}

TEST_P(InferStreamsTest, AStreamTooManyIsResourceExhausted) {
  GrpcServerOptions options;
  options.max_infer_streams = 2;
  Start(options);
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 2; ++i) {
    clients.push_back(Begin());
    ASSERT_TRUE(WriteNumbered(clients.back().get(), 0, 1));
    EXPECT_EQ(ReadNumbered(clients.back().get(), 1).size(), 1u);
  }
  auto third = Begin();
  EXPECT_EQ(End(third.get()).error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(CloseAndEnd(clients[0].get()).ok());
  Idle();
  auto fourth = Begin();
  ASSERT_TRUE(WriteNumbered(fourth.get(), 0, 1));
  EXPECT_EQ(ReadNumbered(fourth.get(), 1).size(), 1u);
  EXPECT_TRUE(CloseAndEnd(fourth.get()).ok());
}

TEST_P(InferStreamsTest, DrainAnswersWhatIsInFlightAndEndsTheStream) {
  frontend_.set_mode(Mode::kHold);
  auto idle = Begin();
  ASSERT_TRUE(WriteNumbered(idle.get(), 0, 1));
  Turn([&] { return frontend_.in_flight() == 1; });
  frontend_.ReleaseAll();
  EXPECT_EQ(ReadNumbered(idle.get(), 1).size(), 1u);
  auto busy = Begin();
  ASSERT_TRUE(WriteNumbered(busy.get(), 1, 3));
  Turn([&] { return frontend_.in_flight() == 2; });

  server_->Drain();
  EXPECT_EQ(End(idle.get()).error_code(), StatusCode::UNAVAILABLE);
  Write(busy.get(), Numbered(3));
  ModelStreamInferResponse refused = Read(busy.get());
  EXPECT_THAT(refused.error_message(), HasSubstr("shutting down"));
  EXPECT_EQ(refused.infer_response().id(), "id 3");
  frontend_.ReleaseAll();
  EXPECT_EQ(ReadNumbered(busy.get(), 2).size(), 2u);
  EXPECT_EQ(End(busy.get()).error_code(), StatusCode::UNAVAILABLE);
  auto late = Begin();
  EXPECT_EQ(End(late.get()).error_code(), StatusCode::UNAVAILABLE);
  Idle();
  EXPECT_EQ(frontend_.seen().size(), 3u);
}

TEST_P(InferStreamsTest, ShutdownCutsOffWhatIsStillAtTheFrontend) {
  frontend_.set_mode(Mode::kHold);
  auto client = Begin();
  ASSERT_TRUE(WriteNumbered(client.get(), 0, 20));
  Turn([&] { return frontend_.in_flight() == 20; });
  server_->Shutdown(10 * kNanosPerMilli);
  EXPECT_EQ(frontend_.cancelled().size(), 20u);
  ModelStreamInferResponse response;
  EXPECT_FALSE(client->stream->Read(&response));
  EXPECT_FALSE(client->stream->Finish().ok());
  EXPECT_EQ(frontend_.Poll(), 20u);  // a late Done is ignored
}

}  // namespace
}  // namespace millrace
