// The local lane against its own client: what is asked, answered, cancelled, and told when it ends.
#include "services/ingress/local/local_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/testing/allocations.h"
#include "ipc/client/millrace_client.h"
#include "services/ingress/local/local_fixture_for_test.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST_F(LocalServerTest, ASignatureIsTold) {
  Connect();
  mr_model* viewed = nullptr;
  ASSERT_EQ(mr_open_model(client_, "viewed", "", &viewed), MR_OK);
  std::vector<std::string> inputs, outputs;
  mr_tensor_info info;
  for (size_t i = 0; mr_input_info(viewed, i, &info) == MR_OK; ++i) {
    inputs.push_back(std::string(info.name) + (info.is_column != 0 ? " column" : ""));
  }
  for (size_t i = 0; mr_output_info(viewed, i, &info) == MR_OK; ++i) outputs.push_back(info.name);
  EXPECT_THAT(inputs, ElementsAre("input", "age column", "plan column"));
  EXPECT_THAT(outputs, ElementsAre("prediction", "class", "label"));
  EXPECT_EQ(mr_open_model(client_, "absent", "", &viewed), MR_NOT_FOUND);
  EXPECT_THAT(mr_error(client_), HasSubstr("absent"));
  EXPECT_EQ(mr_open_model(client_, "plain", "77", &viewed), MR_NOT_FOUND);
}

TEST_F(LocalServerTest, AnAnswerIsReadWhereItWasWritten) {
  AnswerWithTheInput();
  Connect();
  for (uint32_t rows : {1u, 2u, 4u}) {  // inline, and in a block
    mr_request* request = Begin(0.5f, rows);
    ASSERT_EQ(mr_infer(client_, request, nullptr), MR_OK) << mr_error(client_);
    EXPECT_EQ(Values(request), std::vector<float>(rows * 3, 0.5f));
    EXPECT_EQ(mr_request_version(request), 2u);
    mr_release(client_, request);
  }
  rig_.Do([](FakeFrontend& frontend, LocalServer&) {
    ASSERT_THAT(frontend.seen(), SizeIs(3));
    EXPECT_EQ(frontend.seen()[0].model, "plain");
    EXPECT_EQ(frontend.seen()[0].version, "");
    EXPECT_EQ(frontend.seen()[0].inputs[0].name, "input");
    EXPECT_THAT(frontend.seen()[1].inputs[0].shape, ElementsAre(2, 3));
  });
}

TEST_F(LocalServerTest, ManyAreInFlightAndNoneIsMixedUp) {
  AnswerWithTheInput(FakeFrontend::Mode::kPoll);
  for (int mode : {MR_WAIT_YIELD, MR_WAIT_SPIN, MR_WAIT_PARK}) {
    mr_close(client_);
    Connect(mode);
    int sent = 0, ended = 0;
    constexpr int kRequests = 2000;
    while (ended < kRequests) {
      while (sent < kRequests && sent - ended < 8) {
        mr_request* request = Begin(static_cast<float>(sent));
        mr_submit_options options = {};
        options.struct_bytes = sizeof options;
        options.user = reinterpret_cast<void*>(static_cast<intptr_t>(sent++));
        ASSERT_EQ(mr_submit(client_, request, &options), MR_OK);
      }
      mr_request* done[3];
      const size_t count = mr_wait(client_, done, 3, kForEver);
      ASSERT_GT(count, 0u);
      for (size_t i = 0; i < count; ++i, ++ended) {
        const auto user = reinterpret_cast<intptr_t>(mr_request_user(done[i]));
        EXPECT_EQ(Values(done[i]), std::vector<float>(3, static_cast<float>(user)));
        mr_release(client_, done[i]);
      }
    }
  }
}

TEST_F(LocalServerTest, DeadlinePriorityAndOutputsArrive) {
  Connect();
  mr_submit_options options = {};
  options.struct_bytes = sizeof options;
  options.deadline_ns = MonotonicNanos() + kNanosPerSecond;
  options.priority = 3;
  options.outputs = 1;
  mr_request* request = Begin(1);
  mr_infer(client_, request, &options);
  rig_.Do([&](FakeFrontend& frontend, LocalServer&) {
    EXPECT_EQ(frontend.seen()[0].deadline_ns, options.deadline_ns);
    EXPECT_EQ(frontend.seen()[0].priority, 3u);
    EXPECT_THAT(frontend.seen()[0].outputs, ElementsAre("prediction"));
  });
}

TEST_F(LocalServerTest, AClientsTraceArrivesAndNoneWhereNoneIsNamed) {
  Connect();
  mr_submit_options options = {};
  options.struct_bytes = sizeof options;
  const std::string parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-";
  for (const char* flags : {"01", "00"}) {
    const std::string traceparent = parent + flags;
    options.traceparent = traceparent.c_str();
    mr_request* request = Begin(1);
    EXPECT_EQ(mr_infer(client_, request, &options), MR_OK);
    mr_release(client_, request);
  }
  options.traceparent = nullptr;
  mr_request* plain = Begin(1);
  EXPECT_EQ(mr_infer(client_, plain, &options), MR_OK);
  mr_release(client_, plain);
  // A program that was built before the field was there.
  options.struct_bytes = offsetof(mr_submit_options, traceparent);
  options.traceparent = "of no meaning";
  mr_request* old = Begin(1);
  EXPECT_EQ(mr_infer(client_, old, &options), MR_OK);
  mr_release(client_, old);
  rig_.Do([&](FakeFrontend& frontend, LocalServer&) {
    ASSERT_EQ(frontend.seen().size(), 4u);
    const auto of = [&](size_t i) { return frontend.seen()[i].trace.parent; };
    EXPECT_EQ(FormatTraceParent(of(0)), parent + "01");
    EXPECT_EQ(FormatTraceParent(of(1)), parent + "00");
    EXPECT_FALSE(of(2).valid());
    EXPECT_FALSE(of(3).valid());
    EXPECT_EQ(frontend.seen()[0].trace.method, TraceMethod::kLocalInfer);
  });
  options.struct_bytes = sizeof options;
  mr_request* bad = Begin(1);
  EXPECT_EQ(mr_infer(client_, bad, &options), MR_INVALID_ARGUMENT);
  EXPECT_THAT(mr_error(client_), testing::HasSubstr("traceparent: "));
  mr_release(client_, bad);
}

TEST_F(LocalServerTest, AnErrorHasItsCodeAndSentence) {
  rig_.Do([](FakeFrontend& frontend, LocalServer&) {
    frontend.set_answerer([](const FakeRequest&) {
      return FakeAnswer{absl::InvalidArgumentError("inputs[0].shape: not this"), "", "", {}};
    });
  });
  Connect();
  mr_request* request = Begin(1);
  EXPECT_EQ(mr_infer(client_, request, nullptr), MR_INVALID_ARGUMENT);
  EXPECT_STREQ(mr_request_error(request), "inputs[0].shape: not this");
}

TEST_F(LocalServerTest, ACancelledRequestEndsAndItsPlaceIsFree) {
  rig_.Do(
      [](FakeFrontend& frontend, LocalServer&) { frontend.set_mode(FakeFrontend::Mode::kHold); });
  Connect();
  mr_request* request = Begin(1);
  ASSERT_EQ(mr_submit(client_, request, nullptr), MR_OK);
  mr_flush(client_);
  rig_.WaitUntil([](FakeFrontend& frontend, LocalServer&) { return frontend.in_flight() == 1; });
  mr_cancel(client_, request);
  mr_request* done = nullptr;
  ASSERT_EQ(mr_wait(client_, &done, 1, kForEver), 1u);
  EXPECT_EQ(done, request);
  EXPECT_EQ(mr_request_code(done), MR_CANCELLED);
  mr_release(client_, done);
  // One that is let go in flight never comes out, and its place comes back.
  for (int i = 0; i < 20; ++i) {
    request = Begin(1);
    ASSERT_EQ(mr_submit(client_, request, nullptr), MR_OK);
    mr_release(client_, request);
    while (mr_wait(client_, &done, 1, kNanosPerSecond) != 0) FAIL() << "it came out";
  }
}

TEST_F(LocalServerTest, PlacesRunOutWithASentence) {
  Connect();
  std::vector<mr_request*> held;
  for (size_t i = 0; i < mr_places(client_); ++i) held.push_back(Begin(1));
  mr_request* more = nullptr;
  EXPECT_EQ(mr_begin(client_, plain_, 1, nullptr, 0, &more), MR_RESOURCE_EXHAUSTED);
  EXPECT_THAT(mr_error(client_), HasSubstr("release"));
  mr_release(client_, held.back());
  EXPECT_EQ(mr_begin(client_, plain_, 1, nullptr, 0, &more), MR_OK);
}

TEST_F(LocalServerTest, AClientThatClosesHasItsWorkCancelledAndItsMemoryReturned) {
  rig_.Do(
      [](FakeFrontend& frontend, LocalServer&) { frontend.set_mode(FakeFrontend::Mode::kHold); });
  uint64_t before = 0;
  rig_.Do([&](FakeFrontend&, LocalServer& server) { before = server.memory_left(); });
  Connect();
  for (int i = 0; i < 5; ++i) ASSERT_EQ(mr_submit(client_, Begin(1), nullptr), MR_OK);
  mr_flush(client_);
  rig_.WaitUntil([&](FakeFrontend& frontend, LocalServer& server) {
    return frontend.in_flight() == 5 && server.memory_left() < before;
  });
  mr_close(std::exchange(client_, nullptr));
  rig_.WaitUntil([&](FakeFrontend& frontend, LocalServer& server) {
    return frontend.in_flight() == 0 && server.clients() == 0 && server.memory_left() == before;
  });
  rig_.Do(
      [](FakeFrontend& frontend, LocalServer&) { EXPECT_THAT(frontend.cancelled(), SizeIs(5)); });
}

TEST_F(LocalServerTest, ClientsBeyondTheLimitAreRefusedPolitely) {
  std::vector<mr_client*> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(nullptr);
    ASSERT_EQ(mr_connect(rig_.path().c_str(), nullptr, &clients.back()), MR_OK);
  }
  mr_client* more = nullptr;
  EXPECT_EQ(mr_connect(rig_.path().c_str(), nullptr, &more), MR_RESOURCE_EXHAUSTED);
  EXPECT_THAT(mr_error(nullptr), HasSubstr("too many local clients"));
  mr_close(clients.back());
  rig_.WaitUntil([](FakeFrontend&, LocalServer& server) { return server.clients() == 2; });
  EXPECT_EQ(mr_connect(rig_.path().c_str(), nullptr, &clients.back()), MR_OK);
  for (mr_client* client : clients) mr_close(client);
}

TEST_F(LocalServerTest, AServerThatDrainsRefusesAndAnswersWhatItHas) {
  rig_.Do(
      [](FakeFrontend& frontend, LocalServer&) { frontend.set_mode(FakeFrontend::Mode::kHold); });
  Connect();
  ASSERT_EQ(mr_submit(client_, Begin(1), nullptr), MR_OK);
  mr_flush(client_);
  rig_.WaitUntil([](FakeFrontend& frontend, LocalServer&) { return frontend.in_flight() == 1; });
  rig_.Do([](FakeFrontend&, LocalServer& server) {
    server.Drain();
    EXPECT_FALSE(server.drained());
  });
  mr_request* refused = Begin(1);
  EXPECT_EQ(mr_infer(client_, refused, nullptr), MR_UNAVAILABLE);
  rig_.Do([](FakeFrontend& frontend, LocalServer&) { frontend.ReleaseAll(); });
  mr_request* done = nullptr;
  ASSERT_EQ(mr_wait(client_, &done, 1, kForEver), 1u);
  rig_.WaitUntil([](FakeFrontend&, LocalServer& server) { return server.drained(); });
}

// Answers at once, and without memory of its own.
class PlainFrontend : public Frontend {
 public:
  RequestId Infer(const InferRequest& request, Completion* completion) override {
    TensorView output = request.inputs[0];
    output.name = "prediction";
    InferAnswer answer;
    answer.model = "plain";
    answer.version = "2";
    answer.outputs = {&output, 1};
    completion->Done(answer);
    return 0;
  }
  void Cancel(RequestId) override {}
  std::shared_ptr<const Catalog> catalog() const override { return catalog_; }
  bool ServerReady() const override { return true; }
  absl::Status ModelReady(std::string_view, std::string_view) const override {
    return absl::OkStatus();
  }
  std::vector<ModelStatistic> Statistics(std::string_view, std::string_view) const override {
    return {};
  }
  void ChangeModel(const ModelChange&, ChangeDone done) override {
    done(absl::UnimplementedError("nothing changes here"));
  }

 private:
  std::shared_ptr<const Catalog> catalog_ = FakeCatalog();
};

// Both ends on one thread, so that each allocation of either is seen.
TEST(LocalPathTest, AfterWarmUpNeitherEndAllocates) {
  PlainFrontend frontend;
  const std::string path = "/tmp/millrace-local-path-" + std::to_string(getpid());
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  memcpy(name.sun_path, path.data(), path.size());
  const Fd listening(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  ASSERT_EQ(bind(listening.get(), reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
  ASSERT_EQ(listen(listening.get(), 8), 0);
  const Fd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  auto server = Must(LocalServer::Create(&frontend, {}, listening.get(), wake.get()));
  mr_client* client = nullptr;
  mr_model* model = nullptr;
  std::atomic<bool> connected{false};
  std::thread connecting([&] {
    if (mr_connect(path.c_str(), nullptr, &client) == MR_OK) {
      mr_open_model(client, "plain", "", &model);
    }
    connected = true;
  });
  while (!connected) {
    server->Block(kNanosPerMilli);
    server->Poll();
  }
  connecting.join();
  unlink(path.c_str());
  ASSERT_NE(model, nullptr) << mr_error(client);
  uint64_t allocated = 0;
  for (int round = 0; round < 1000; ++round) {
    const uint64_t before = Allocations();
    for (int i = 0; i < 16; ++i) {
      mr_request* request = nullptr;
      mr_begin(client, model, 1 + i % 4, nullptr, 0, &request);
      mr_submit(client, request, nullptr);
    }
    mr_flush(client);
    server->Poll();
    mr_request* done[16];
    const size_t count = mr_wait(client, done, 16, 0);
    for (size_t i = 0; i < count; ++i) {
      EXPECT_EQ(mr_request_code(done[i]), MR_OK);
      mr_release(client, done[i]);
    }
    if (round >= 10) allocated += Allocations() - before;
    ASSERT_EQ(count, 16u);
  }
  EXPECT_EQ(allocated, 0u);
  mr_close(client);
}

TEST(LocalClientTest, WithoutAServerThereIsASentence) {
  mr_client* client = nullptr;
  EXPECT_EQ(mr_connect("unix:/does/not/exist", nullptr, &client), MR_UNAVAILABLE);
  EXPECT_THAT(mr_error(nullptr), HasSubstr("/does/not/exist"));
  EXPECT_EQ(mr_connect("", nullptr, &client), MR_INVALID_ARGUMENT);
}

TEST(LocalClientTest, AServerThatEndsLeavesNobodyHanging) {
  auto rig = std::make_unique<LocalRig>();
  rig->Do(
      [](FakeFrontend& frontend, LocalServer&) { frontend.set_mode(FakeFrontend::Mode::kHold); });
  mr_client* client = nullptr;
  mr_model* model = nullptr;
  ASSERT_EQ(mr_connect(rig->path().c_str(), nullptr, &client), MR_OK);
  ASSERT_EQ(mr_open_model(client, "plain", "", &model), MR_OK);
  mr_request* requests[3];
  for (mr_request*& request : requests) {
    ASSERT_EQ(mr_begin(client, model, 1, nullptr, 0, &request), MR_OK);
    ASSERT_EQ(mr_submit(client, request, nullptr), MR_OK);
  }
  mr_flush(client);
  rig.reset();
  mr_request* done[3];
  size_t count = 0;
  while (count < 3) {
    const size_t more = mr_wait(client, done + count, 3 - count, kForEver);
    ASSERT_GT(more, 0u);
    count += more;
  }
  for (mr_request* request : done) {
    EXPECT_EQ(mr_request_code(request), MR_UNAVAILABLE);
    mr_release(client, request);
  }
  EXPECT_EQ(mr_connected(client), 0);
  mr_request* request = nullptr;
  EXPECT_EQ(mr_begin(client, model, 1, nullptr, 0, &request), MR_UNAVAILABLE);
  mr_close(client);
}

}  // namespace
}  // namespace millrace
