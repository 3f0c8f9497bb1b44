// Calls in flight, deadlines, cancels, drain and shutdown, over real sockets.
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "services/ingress/grpc/grpc_server_fixture_for_test.h"

namespace millrace {
namespace {

using grpc::StatusCode;
using grpc::health::v1::HealthCheckResponse;
using inference::ModelInferRequest;
using inference::ModelInferResponse;
using Mode = FakeFrontend::Mode;

INSTANTIATE_TEST_SUITE_P(Sockets, GrpcServerTest,
                         ::testing::Values(SocketKind::kTcp, SocketKind::kUnix),
                         [](const auto& info) {
                           return info.param == SocketKind::kTcp ? "Tcp" : "Unix";
                         });

TEST_P(GrpcServerTest, DeadlinesComeAsMonotonicTime) {
  const auto seen_in_ms = [&](int64_t deadline_ms, int64_t timeout_us) {
    ModelInferRequest request = Request();
    if (timeout_us != 0) (*request.mutable_parameters())["timeout"].set_int64_param(timeout_us);
    ClientCall* call = Send(request, deadline_ms);
    Turn([&] { return call->over; });
    EXPECT_TRUE(call->status.ok()) << call->status.error_message();
    return (frontend_.seen().back().deadline_ns - MonotonicNanos()) / kNanosPerMilli;
  };
  EXPECT_NEAR(seen_in_ms(60'000, 0), 60'000, 5'000);
  EXPECT_NEAR(seen_in_ms(0, 60'000'000), 60'000, 5'000);
  EXPECT_NEAR(seen_in_ms(60'000, 30'000'000), 30'000, 5'000);
  EXPECT_NEAR(seen_in_ms(30'000, 60'000'000), 30'000, 5'000);
}

TEST_P(GrpcServerTest, CompletionsFromPollAnswerInAnyOrder) {
  frontend_.set_mode(Mode::kHold);
  ClientCall* first = Send(Request(std::string(12, '1')));
  Turn([&] { return frontend_.in_flight() == 1; });
  ClientCall* second = Send(Request(std::string(12, '2')));
  Turn([&] { return frontend_.in_flight() == 2; });
  EXPECT_EQ(server_->in_flight(), 2u);
  frontend_.Release(frontend_.seen()[1].id);
  Turn([&] { return second->over; });
  EXPECT_FALSE(first->over);
  frontend_.Release(frontend_.seen()[0].id);
  Turn([&] { return first->over && server_->in_flight() == 0; });
  EXPECT_EQ(first->response.raw_output_contents(0), std::string(12, '1'));
  EXPECT_EQ(second->response.raw_output_contents(0), std::string(12, '2'));
}

// More at once than calls are posted ahead, over one connection, several times over.
TEST_P(GrpcServerTest, ManyInFlightOverOneConnection) {
  frontend_.set_mode(Mode::kHold);
  constexpr size_t kAtOnce = 200;
  for (int round = 0; round < 3; ++round) {
    std::vector<ClientCall*> calls;
    for (size_t i = 0; i < kAtOnce; ++i) {
      calls.push_back(Send(Request(std::string(12, static_cast<char>('0' + i % 64)))));
    }
    Turn([&] { return frontend_.in_flight() == kAtOnce; });
    frontend_.ReleaseAll();
    Turn([&] {
      for (const ClientCall* call : calls) {
        if (!call->over) return false;
      }
      return server_->in_flight() == 0;
    });
    for (size_t i = 0; i < kAtOnce; ++i) {
      ASSERT_TRUE(calls[i]->status.ok()) << calls[i]->status.error_message();
      EXPECT_EQ(calls[i]->response.raw_output_contents(0),
                std::string(12, static_cast<char>('0' + i % 64)));
    }
  }
}

// With fewer call objects than calls, the rest waits in gRPC and is served as objects are free.
TEST_P(GrpcServerTest, MoreCallsThanObjectsAreServedInTheEnd) {
  GrpcServerOptions options;
  options.max_in_flight = 2;
  options.waiting_calls = 2;
  Start(options);
  frontend_.set_mode(Mode::kHold);
  std::vector<ClientCall*> calls;
  for (int i = 0; i < 20; ++i) calls.push_back(Send(Request()));
  Turn([&] { return frontend_.in_flight() == 4; });
  frontend_.set_mode(Mode::kInline);
  frontend_.ReleaseAll();
  Turn([&] {
    for (const ClientCall* call : calls) {
      if (!call->over) return false;
    }
    return true;
  });
  for (const ClientCall* call : calls)
    EXPECT_TRUE(call->status.ok()) << call->status.error_message();
}

// One more than there may be is told to come back; when another has gone it is served.
TEST_P(GrpcServerTest, ConnectionsOverTheLimitAreRefusedPolitely) {
  GrpcServerOptions options;
  options.max_connections = 2;
  Start(options);
  ASSERT_TRUE(ServerReady());
  int other = socket_.Connect();  // says nothing, and counts
  const auto last_words = [&](int fd) {
    std::string words;
    Turn([&] {
      char chunk[256];
      const ssize_t bytes = recv(fd, chunk, sizeof chunk, MSG_DONTWAIT);
      if (bytes > 0) words.append(chunk, static_cast<size_t>(bytes));
      return bytes == 0;
    });
    close(fd);
    return words;
  };
  std::string words = last_words(socket_.Connect());
  ASSERT_EQ(words.size(), 9 + 9 + 28u);
  EXPECT_EQ(words[3], 4) << "settings come first";
  EXPECT_EQ(words[9 + 3], 7) << "GOAWAY";
  EXPECT_EQ(words.substr(words.size() - 20), "too many connections");
  // gRPC's client understands it.
  const auto other_stub = inference::GRPCInferenceService::NewStub(
      grpc::CreateCustomChannel(socket_.target(), grpc::InsecureChannelCredentials(), [] {
        grpc::ChannelArguments arguments;
        arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
        arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
        arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 100);
        return arguments;
      }()));
  const auto live = [&](bool wait) {
    return Ask([&] {
      grpc::ClientContext context;
      context.set_wait_for_ready(wait);
      if (!wait) {
        context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(500));
      }
      inference::ServerLiveResponse response;
      return other_stub->ServerLive(&context, {}, &response);
    });
  };
  // Told that nothing was begun, it may also try again by itself, as long as its deadline lets it.
  const StatusCode refused = live(false).error_code();
  EXPECT_TRUE(refused == StatusCode::UNAVAILABLE || refused == StatusCode::DEADLINE_EXCEEDED)
      << refused;
  EXPECT_TRUE(ServerReady()) << "the others are served";
  close(other);
  EXPECT_TRUE(live(true).ok());
}

TEST_P(GrpcServerTest, ACancelReachesTheFrontendOnce) {
  frontend_.set_mode(Mode::kHold);
  ClientCall* cancelled = Send(Request());
  ClientCall* kept = Send(Request());
  Turn([&] { return frontend_.in_flight() == 2; });
  const RequestId id = frontend_.seen()[0].id;
  cancelled->context.TryCancel();
  Turn([&] { return !frontend_.cancelled().empty() && frontend_.in_flight() == 1; });
  frontend_.ReleaseAll();
  Turn([&] { return cancelled->over && kept->over && server_->in_flight() == 0; });
  EXPECT_EQ(cancelled->status.error_code(), StatusCode::CANCELLED);
  EXPECT_EQ(kept->status.error_code(), StatusCode::OK);
  EXPECT_EQ(frontend_.cancelled().size(), 1u);
  EXPECT_TRUE(frontend_.cancelled()[0] == id || frontend_.cancelled()[0] == id + 1);
}

TEST_P(GrpcServerTest, ADeadlineThatPassesCancelsAtTheFrontend) {
  frontend_.set_mode(Mode::kHold);
  ClientCall* call = Send(Request(), 500);
  Turn([&] { return frontend_.in_flight() == 1; });
  Turn([&] { return call->over && !frontend_.cancelled().empty() && server_->in_flight() == 0; });
  EXPECT_EQ(call->status.error_code(), StatusCode::DEADLINE_EXCEEDED);
}

TEST_P(GrpcServerTest, AClientThatVanishesLeavesNothingInFlight) {
  frontend_.set_mode(Mode::kHold);
  std::vector<ClientCall*> calls;
  for (int i = 0; i < 10; ++i) calls.push_back(Send(Request()));
  Turn([&] { return frontend_.in_flight() == 10; });
  for (ClientCall* call : calls) call->context.TryCancel();
  channel_.reset();
  stub_.reset();
  health_.reset();
  Turn([&] { return server_->in_flight() == 0 && frontend_.in_flight() == 0; });
  EXPECT_EQ(frontend_.cancelled().size(), 10u);
}

TEST_P(GrpcServerTest, DrainRefusesTheNewAndFinishesTheOld) {
  frontend_.set_mode(Mode::kHold);
  ClientCall* old = Send(Request());
  Turn([&] { return frontend_.in_flight() == 1; });
  server_->Drain();

  HealthCheckResponse health;
  ASSERT_TRUE(Check("", &health).ok());
  EXPECT_EQ(health.status(), HealthCheckResponse::NOT_SERVING);
  EXPECT_FALSE(ServerReady());
  ModelInferResponse response;
  grpc::ClientContext context;
  EXPECT_EQ(Infer(Request(), &response, &context).error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(context.GetServerTrailingMetadata().count("grpc-retry-pushback-ms"), 1u);

  EXPECT_EQ(frontend_.seen().size(), 1u);
  frontend_.ReleaseAll();
  Turn([&] { return old->over && server_->in_flight() == 0; });
  EXPECT_TRUE(old->status.ok());
  const int64_t start_ns = MonotonicNanos();
  server_->Shutdown(10 * kNanosPerSecond);
  EXPECT_LT(MonotonicNanos() - start_ns, 5 * kNanosPerSecond) << "idle clients hold nothing up";
}

TEST_P(GrpcServerTest, ShutdownCutsOffWhatIsStillAtTheFrontend) {
  frontend_.set_mode(Mode::kHold);
  ClientCall* call = Send(Request());
  Turn([&] { return frontend_.in_flight() == 1; });
  server_->Shutdown(10 * kNanosPerMilli);
  server_->Shutdown(0);
  EXPECT_EQ(frontend_.cancelled().size(), 1u);
  void* tag;
  bool ok;
  ASSERT_TRUE(client_queue_.Next(&tag, &ok));
  EXPECT_EQ(tag, call);
  EXPECT_EQ(call->status.error_code(), StatusCode::UNAVAILABLE) << call->status.error_message();
  EXPECT_EQ(frontend_.Poll(), 1u);  // a late Done is ignored
  server_->Wake();                  // and so is a late Wake
}

// Another process serves on the socket: each connection is told to go, and served until it has.
TEST_P(GrpcServerTest, AMoveServesWhatIsThereAndLetsEveryConnectionGo) {
  frontend_.set_mode(Mode::kHold);
  ClientCall* held = Send(Request());
  Turn([&] { return frontend_.in_flight() == 1; });
  server_->Move();
  server_->Move();
  Turn([&] { return server_->connections() == 1; });
  EXPECT_FALSE(held->over) << "its call keeps the connection";
  frontend_.ReleaseAll();
  Turn([&] { return held->over && server_->connections() == 0; });
  EXPECT_TRUE(held->status.ok()) << held->status.error_message();
  // The client connects again, and is in nobody's hands until the next process takes it.
  frontend_.set_mode(Mode::kPoll);
  ClientCall* next = Send(Request());
  const int64_t until_ns = MonotonicNanos() + 50 * kNanosPerMilli;
  Turn([&] { return MonotonicNanos() > until_ns; });
  EXPECT_FALSE(next->over);
  EXPECT_EQ(server_->connections(), 0u);
  auto other = GrpcServer::Start(&frontend_, GrpcServerOptions{}, socket_.fd());
  ASSERT_TRUE(other.ok());
  server_ = *std::move(other);
  Turn([&] { return next->over; });
  EXPECT_TRUE(next->status.ok()) << next->status.error_message();
}

TEST_P(GrpcServerTest, ANewServerOnTheSameSocketServesClientsThatComeBack) {
  ModelInferResponse response;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(Infer(Request(), &response).ok());
    Start(GrpcServerOptions{});
  }
  EXPECT_TRUE(Infer(Request(), &response).ok());
}

TEST_P(GrpcServerTest, WaitEndsByTimeByWakeAndByACall) {
  while (server_->Wait(kNanosPerMilli)) {
  }
  const int64_t start_ns = MonotonicNanos();
  EXPECT_FALSE(server_->Wait(20 * kNanosPerMilli));
  EXPECT_GE(MonotonicNanos() - start_ns, 20 * kNanosPerMilli);

  for (int i = 0; i < 100; ++i) {
    std::thread waker([&] {
      if (i % 2 == 0) usleep(500);
      server_->Wake();
      server_->Wake();
    });
    while (!server_->Wait(kLimitNs)) FAIL() << "not woken";
    waker.join();
    server_->Poll(64);  // the second Wake may have come after the first was seen
  }

  // In steps as the lane takes them: client and server share this thread, and a client that is
  // still connecting makes progress only while somebody polls its queue.
  ClientCall* call = Send(Request());
  const int64_t limit_ns = MonotonicNanos() + kLimitNs;
  while (!server_->Wait(50 * kNanosPerMilli)) {
    ASSERT_LT(MonotonicNanos(), limit_ns);
    void* tag;
    bool ok;
    ASSERT_EQ(client_queue_.AsyncNext(&tag, &ok, gpr_inf_past(GPR_CLOCK_MONOTONIC)),
              grpc::CompletionQueue::TIMEOUT);
  }
  Turn([&] { return call->over; });
}

// What is not HTTP/2 at all costs its connection and nothing else.
TEST_P(GrpcServerTest, GarbageOnAConnectionHurtsNobodyElse) {
  const int garbage = socket_.Connect();
  ASSERT_GT(send(garbage, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL), 0);
  const int silent = socket_.Connect();
  ModelInferResponse response;
  EXPECT_TRUE(Infer(Request(), &response).ok());
  close(garbage);
  close(silent);
  EXPECT_TRUE(Infer(Request(), &response).ok());
}

}  // namespace
}  // namespace millrace
