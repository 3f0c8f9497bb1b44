// The transports, over loopback, beside a server that does what it is told.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <limits>

#include "gtest/gtest.h"
#include "tools/load/driver.h"
#include "tools/load/testing/fake_model.h"
#include "tools/load/transport.h"

namespace millrace {
namespace {

struct Case {
  const char* name;
  bool http;
  bool open_loop;
};

class TransportsTest : public testing::TestWithParam<Case> {
 protected:
  // Three requests, with the sums that must come back.
  static GoldenSet Requests() {
    inference::ModelMetadataResponse metadata;
    metadata.set_name("sum");
    auto* x = metadata.add_inputs();
    x->set_name("x");
    x->set_datatype("FP32");
    x->add_shape(-1);
    x->add_shape(2);
    auto* y = metadata.add_outputs();
    y->set_name("y");
    y->set_datatype("FP32");
    const Csv rows = *ParseCsv("a,b\n1,2\n3,4\n0.5,0.25\n", "rows");
    const Csv expect = *ParseCsv("y\n3\n7\n0.75\n", "expect");
    return *MakeGolden(metadata, rows, &expect, 1);
  }

  DriveResult Run(const std::string& address, const DriveOptions& drive,
                  int64_t deadline_ms = 60'000) const {
    TransportOptions options;
    options.address = address;
    options.connections = 2;
    options.deadline_ms = deadline_ms;
    options.open_loop = GetParam().open_loop;
    DriveOptions point = drive;
    if (GetParam().open_loop) point.rate_per_s = 5000;
    const GoldenSet set = Requests();
    auto transport = GetParam().http ? MakeHttpTransport(set, options, point.in_flight)
                                     : MakeGrpcTransport(set, options, point.in_flight);
    EXPECT_TRUE(transport.ok());
    MonotonicClock clock;
    const DriveResult result = Drive(transport->get(), &clock, set.requests.size(), point, {});
    EXPECT_EQ(result.sent, result.answered + result.mismatched + result.failed);
    EXPECT_EQ(result.latency.count(), result.answered + result.mismatched);
    return result;
  }

  DriveResult Run(const FakeModel& model, const DriveOptions& drive,
                  int64_t deadline_ms = 60'000) const {
    return Run(GetParam().http ? model.http() : model.grpc(), drive, deadline_ms);
  }

  static DriveOptions Count(int64_t requests, int in_flight) {
    DriveOptions drive;
    drive.requests = requests;
    drive.in_flight = in_flight;
    return drive;
  }

  // The one code of a load whose request 2 of 6 met `behaviour`.
  std::pair<std::string, std::string> CodeOf(Behaviour behaviour, int64_t deadline_ms) const {
    FakeModel model([=](int64_t n) { return n == 2 ? behaviour : Behaviour::kSum; });
    const DriveResult result = Run(model, Count(6, 1), deadline_ms);
    EXPECT_EQ(result.answered, 5) << "the load goes on after a failure";
    EXPECT_EQ(result.errors.size(), 1U);
    if (result.errors.empty()) return {};
    EXPECT_EQ(result.errors.begin()->second.count, 1);
    return {result.errors.begin()->first, result.errors.begin()->second.example};
  }
};

TEST_P(TransportsTest, AllAnswersAreAsExpected) {
  FakeModel model([](int64_t) { return Behaviour::kSum; });
  const DriveResult result = Run(model, Count(300, 8));
  EXPECT_EQ(result.answered, 300);
  EXPECT_EQ(model.calls(), 300);
  EXPECT_GT(result.service.min_ns(), 0);
  EXPECT_GE(result.latency.max_ns(), result.service.min_ns());
  // Each connection is used again, not made for each request.
  EXPECT_LE(model.connections(), 8);
}

// Each of the three requests meets both answers, so that none is known by an earlier one's.
TEST_P(TransportsTest, AnotherAnswerIsAMismatchEachTime) {
  FakeModel model([](int64_t n) { return n % 4 == 1 ? Behaviour::kWrong : Behaviour::kSum; });
  const DriveResult result = Run(model, Count(30, 1));
  EXPECT_EQ(result.mismatched, 8);
  EXPECT_EQ(result.answered, 22);
  EXPECT_EQ(result.failed, 0);
}

TEST_P(TransportsTest, ErrorsHaveTheirCodes) {
  const bool http = GetParam().http;
  using Told = std::pair<std::string, std::string>;
  EXPECT_EQ(CodeOf(Behaviour::kBadRequest, 60'000),
            Told(http ? "HTTP 400" : "INVALID_ARGUMENT", "not so"));
  EXPECT_EQ(CodeOf(Behaviour::kRefuse, 60'000),
            Told(http ? "HTTP 503" : "UNAVAILABLE", "not ready"));
  if (!http) return;
  EXPECT_EQ(CodeOf(Behaviour::kDrop, 60'000).first, "LOST");
  EXPECT_EQ(CodeOf(Behaviour::kNonsense, 60'000).first, "BAD_ANSWER");
}

// The server never answers one: only the deadline ends the load. It is long enough for the others.
TEST_P(TransportsTest, ADeadlineEndsACallThatHangs) {
  EXPECT_EQ(CodeOf(Behaviour::kHang, 1500).first,
            GetParam().http ? "TIMEOUT" : "DEADLINE_EXCEEDED");
}

// A port that was free a moment ago, and nobody listens on.
std::string DeadAddress() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length), 0);
  close(fd);
  return "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
}

TEST_P(TransportsTest, WithoutAServerAllFailToConnect) {
  for (const std::string& address : {DeadAddress(), std::string("unix:/no/such/socket")}) {
    const DriveResult result = Run(address, Count(5, 2), 300);
    EXPECT_EQ(result.failed, 5);
    ASSERT_EQ(result.errors.size(), 1U);
    EXPECT_EQ(result.errors.begin()->first, "CONNECT") << result.errors.begin()->second.example;
  }
}

TEST_P(TransportsTest, ARetryGetsItsAnswer) {
  FakeModel model([](int64_t n) { return n < 2 ? Behaviour::kRefuse : Behaviour::kSum; });
  DriveOptions drive = Count(4, 1);
  drive.retries = 2;
  const DriveResult result = Run(model, drive);
  EXPECT_EQ(result.answered, 4);
  EXPECT_EQ(result.retried, 2);
  EXPECT_EQ(model.calls(), 6);
}

INSTANTIATE_TEST_SUITE_P(All, TransportsTest,
                         testing::Values(Case{"GrpcClosed", false, false},
                                         Case{"GrpcOpen", false, true},
                                         Case{"HttpClosed", true, false},
                                         Case{"HttpOpen", true, true}),
                         [](const auto& info) { return std::string(info.param.name); });

// Over one stream of many requests.
class StreamTransportTest : public TransportsTest {
 public:
  DriveResult RunStream(const std::string& address, int64_t requests, int in_flight,
                        int64_t deadline_ms = 60'000) const {
    TransportOptions options;
    options.address = address;
    options.connections = 2;
    options.deadline_ms = deadline_ms;
    const GoldenSet set = Requests();
    auto transport = MakeGrpcStreamTransport(set, options, in_flight);
    MonotonicClock clock;
    const DriveResult result =
        Drive(transport.get(), &clock, set.requests.size(), Count(requests, in_flight), {});
    EXPECT_EQ(result.sent, result.answered + result.mismatched + result.failed);
    return result;
  }
  void TestBody() override {}
};

TEST(StreamTransport, AnswersFindTheirRequests) {
  FakeModel model([](int64_t n) { return n % 4 == 1 ? Behaviour::kWrong : Behaviour::kSum; });
  const DriveResult result = StreamTransportTest().RunStream(model.grpc(), 200, 8);
  EXPECT_EQ(result.answered, 150);
  EXPECT_EQ(result.mismatched, 50);
  EXPECT_EQ(model.calls(), 200);
}

TEST(StreamTransport, AnErrorIsOneRequestsOwn) {
  FakeModel model([](int64_t n) { return n == 2 ? Behaviour::kBadRequest : Behaviour::kSum; });
  const DriveResult result = StreamTransportTest().RunStream(model.grpc(), 6, 1);
  EXPECT_EQ(result.answered, 5);
  ASSERT_EQ(result.errors.count("STREAMED_ERROR"), 1U);
  EXPECT_EQ(result.errors.at("STREAMED_ERROR").example, "not so");
}

// One that is never answered ends its stream; the next request has a stream of its own.
TEST(StreamTransport, AHangEndsItsStreamAndNoMore) {
  FakeModel model([](int64_t n) { return n == 2 ? Behaviour::kHang : Behaviour::kSum; });
  const DriveResult result = StreamTransportTest().RunStream(model.grpc(), 6, 1, 300);
  EXPECT_EQ(result.answered, 5);
  EXPECT_EQ(result.errors.count("STREAM_ENDED"), 1U);
}

TEST(StreamTransport, WithoutAServerAllFail) {
  const DriveResult result = StreamTransportTest().RunStream(DeadAddress(), 5, 2, 300);
  EXPECT_EQ(result.failed, 5);
  EXPECT_EQ(result.errors.count("STREAM_ENDED"), 1U);
}

TEST(HttpTransportTest, WhatJsonCannotCarryIsSaidAtOnce) {
  GoldenSet set;
  auto* request = &set.requests.emplace_back().request;
  request->set_model_name("m");
  request->add_inputs()->set_datatype("FP32");
  const float infinity = std::numeric_limits<float>::infinity();
  request->add_raw_input_contents(&infinity, sizeof infinity);
  const auto transport = MakeHttpTransport(set, {}, 1);
  EXPECT_EQ(transport.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace millrace
