#include "services/ingress/http/http_server.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "common/clock.h"
#include "services/ingress/http/http_client_for_test.h"
#include "services/ingress/http/padded_for_test.h"
#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

constexpr std::string_view kInfer = "/v2/models/plain/infer";
constexpr std::string_view kGet = "GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n";

TEST(HttpServer, KeepAlive) {
  TestServer test;
  const int fd = test.Connect();
  for (int i = 0; i < 3; ++i) {
    const Response live = test.Exchange(fd, kGet);
    EXPECT_EQ(live.code, 200);
    EXPECT_EQ(live.body, R"({"live":true})");
    EXPECT_FALSE(live.Has("connection: close"));
    const Response infer = test.Exchange(fd, Post(kInfer, kPlainBody));
    EXPECT_EQ(infer.code, 200);
    EXPECT_EQ(infer.body, kPlainAnswer);
    EXPECT_TRUE(infer.Has("content-type: application/json\r\n"));
  }
  EXPECT_EQ(test.server().counters().connections, 1u);
  EXPECT_EQ(test.server().counters().requests, 6u);
  EXPECT_EQ(test.server().counters().responses[2], 6u);
  close(fd);
  test.Settle();
  EXPECT_EQ(test.server().connections(), 0u);
}

TEST(HttpServer, UnixSocket) {
  TestServer test({}, true);
  const int fd = test.Connect();
  EXPECT_EQ(test.Exchange(fd, Post(kInfer, kPlainBody)).body, kPlainAnswer);
  close(fd);
}

TEST(HttpServer, AnswersFromPollAsWell) {
  TestServer test;
  test.frontend().set_mode(FakeFrontend::Mode::kPoll);
  const int fd = test.Connect();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(test.Exchange(fd, Post(kInfer, kPlainBody)).body, kPlainAnswer);
  }
  close(fd);
}

TEST(HttpServer, PipelinedRequestsAreAnsweredInOrder) {
  TestServer test;
  test.frontend().set_mode(FakeFrontend::Mode::kHold);
  const int fd = test.Connect();
  std::string all;
  constexpr int kRequests = 300;  // more than the buffer for waiting ones holds
  for (int i = 0; i < kRequests; ++i) {
    const std::string body = Concat(R"({"id":"r)", i, R"(",)", kPlainBody.substr(1));
    Append(&all, Post(kInfer, body), i % 7 == 0 ? kGet : "");
  }
  std::thread sender([&] { ASSERT_EQ(write(fd, all.data(), all.size()), ssize_t(all.size())); });
  for (int i = 0; i < kRequests; ++i) {
    while (test.frontend().in_flight() == 0) test.Settle();
    EXPECT_EQ(test.server().active_requests(), 1u);
    test.frontend().ReleaseAll();
    const Response response = test.Receive(fd);
    ASSERT_EQ(nlohmann::json::parse(response.body)["id"], Concat("r", i));
    if (i % 7 == 0) {
      ASSERT_EQ(test.Receive(fd).body, R"({"live":true})");
    }
  }
  sender.join();
  close(fd);
}

TEST(HttpServer, OutputsAreClassified) {
  TestServer test;
  const int fd = test.Connect();
  const auto ask = [&](std::string_view model, std::string_view output, std::string_view more) {
    const std::string body = Concat(R"({"outputs":[{"name":")", output, R"(","parameters":{)", more,
                                    R"("classification":2}}],)", kPlainBody.substr(1));
    return test.Exchange(fd, Post(Concat("/v2/models/", model, "/infer"), body));
  };
  EXPECT_EQ(ask("plain", "prediction", "").body,
            R"({"model_name":"plain","model_version":"1","outputs":[{"name":"input",)"
            R"("datatype":"BYTES","shape":[1,2],"data":["3.500000:2","2.000000:1"]}]})");
  EXPECT_EQ(test.Exchange(fd, Post(kInfer, kPlainBody)).body, kPlainAnswer);
  const size_t asked = test.frontend().seen().size();
  const Response refused = ask("viewed", "label", R"("binary_data":true,)");
  EXPECT_EQ(refused.code, 400);
  EXPECT_NE(refused.body.find("outputs[0].parameters.classification: is for outputs of numbers"),
            std::string::npos)
      << refused.body;
  EXPECT_EQ(test.frontend().seen().size(), asked);
  close(fd);
}

TEST(HttpServer, ByteByByte) {
  TestServer test;
  const int fd = test.Connect();
  const std::string text =
      Concat(Post(kInfer, kPlainBody), "POST ", kInfer,
             " HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "10\r\n", kPlainBody.substr(0, 16),
             "\r\n", "3e;x=\"y\"\r\n", kPlainBody.substr(16), "\r\n0\r\nTrailer: z\r\n\r\n");
  ASSERT_EQ(kPlainBody.size(), 78u);
  for (char c : text) test.Send(fd, {&c, 1});
  EXPECT_EQ(test.Receive(fd).body, kPlainAnswer);
  EXPECT_EQ(test.Receive(fd).body, kPlainAnswer);
  close(fd);
}

TEST(HttpServer, RequestReachesTheFrontendWhole) {
  TestServer test;
  const int fd = test.Connect();
  const int64_t before = MonotonicNanos();
  std::string body = R"({"parameters":{"timeout":5000000,"priority":2},"outputs":[{"name":"p"}],)";
  body += kPlainBody.substr(1);
  test.Exchange(fd,
                Post("/v2/models/plain/versions/2/infer", body, "X-Request-Timeout-Ms: 9000\r\n"));
  const FakeRequest& seen = test.frontend().seen().back();
  EXPECT_EQ(seen.model, "plain");
  EXPECT_EQ(seen.version, "2");
  EXPECT_EQ(seen.outputs, std::vector<std::string>{"p"});
  EXPECT_EQ(seen.priority, 2u);
  EXPECT_GE(seen.deadline_ns, before + 5 * kNanosPerSecond);
  EXPECT_LE(seen.deadline_ns, MonotonicNanos() + 5 * kNanosPerSecond);
  ASSERT_EQ(seen.inputs.size(), 1u);
  EXPECT_EQ(seen.inputs[0].raw, Bytes(1.0f, 2.0f, 3.5f));

  test.Exchange(fd, Post(kInfer, kPlainBody, "X-Request-Timeout-Ms: 1000\r\n"));
  EXPECT_LE(test.frontend().seen().back().deadline_ns, MonotonicNanos() + kNanosPerSecond);
  EXPECT_EQ(test.frontend().seen().back().version, "");
  test.Exchange(fd, Post(kInfer, kPlainBody));
  EXPECT_EQ(test.frontend().seen().back().deadline_ns, 0);
  body = Concat(R"({"parameters":{"timeout":9223372036854775807},)", kPlainBody.substr(1));
  test.Exchange(fd, Post(kInfer, body));
  EXPECT_GT(test.frontend().seen().back().deadline_ns, before + 1'000'000 * kNanosPerSecond);
  EXPECT_EQ(test.Exchange(fd, Post(kInfer, kPlainBody, "X-Request-Timeout-Ms: soon\r\n")).body,
            R"({"error":"X-Request-Timeout-Ms: must be a number of milliseconds"})");
  close(fd);
}

TEST(HttpServer, BinaryTensorsBothWays) {
  TestServer test;
  const int fd = test.Connect();
  const std::string json =
      R"({"parameters":{"binary_data_output":true},"inputs":[{"name":"input","shape":[1,3],)"
      R"("datatype":"FP32","parameters":{"binary_data_size":12}}]})";
  const std::string binary = Bytes(1.0f, 2.0f, 3.5f);
  const Response response =
      test.Exchange(fd, Post(kInfer, json + binary,
                             Concat("Inference-Header-Content-Length: ", json.size(), "\r\n")));
  EXPECT_EQ(response.code, 200);
  const std::string want =
      R"({"model_name":"plain","model_version":"1","outputs":[{"name":"input",)"
      R"("datatype":"FP32","shape":[1,3],"parameters":{"binary_data_size":12}}]})";
  EXPECT_EQ(response.body, want + binary);
  EXPECT_TRUE(response.Has(Concat("inference-header-content-length: ", want.size(), "\r\n")));
  EXPECT_TRUE(response.Has("content-type: application/octet-stream\r\n"));
  EXPECT_EQ(test.Exchange(fd, Post(kInfer, json, "Inference-Header-Content-Length: -1\r\n")).code,
            400);
  close(fd);
}

TEST(HttpServer, Predict) {
  TestServer test;
  const int fd = test.Connect();
  EXPECT_EQ(
      test.Exchange(fd, Post("/v1/models/plain:predict", R"({"instances":[[1,2,3],[4,5,6]]})"))
          .body,
      R"({"predictions":[[1,2,3],[4,5,6]]})");
  EXPECT_EQ(test.Exchange(fd, Post("/v1/models/viewed:predict",
                                   R"({"instances":[{"age":3,"plan":"a"}]})"))
                .body,
            R"({"predictions":[{"age":3,"plan":"a"}]})");
  EXPECT_EQ(test.Exchange(fd, Post("/v1/models/nobody:predict", "{}")).code, 404);
  const Response bad = test.Exchange(fd, Post("/v1/models/plain:predict", "{}"));
  EXPECT_EQ(bad.code, 400);
  EXPECT_EQ(bad.body, R"({"error":"instances: is missing"})");
  close(fd);
}

TEST(HttpServer, RepositoryIndex) {
  TestServer test;
  const int fd = test.Connect();
  const auto size = [&](std::string_view body) {
    const Response response = test.Exchange(fd, Post("/v2/repository/index", body));
    EXPECT_EQ(response.code, 200);
    return nlohmann::json::parse(response.body).size();
  };
  EXPECT_EQ(size(""), 5u);
  EXPECT_EQ(size(R"({"ready":false})"), 5u);
  EXPECT_EQ(size(R"({"ready":true})"), 4u);
  const Response bad = test.Exchange(fd, Post("/v2/repository/index", R"({"ready":"yes"})"));
  EXPECT_EQ(bad.code, 400);
  EXPECT_EQ(bad.body, R"({"error":"ready: must be true or false"})");
  EXPECT_EQ(size(""), 5u);
  close(fd);
}

TEST(HttpServer, StatusTable) {
  TestServer test;
  const int fd = test.Connect();
  const struct {
    absl::Status status;
    int code;
  } kCases[] = {
      {absl::InvalidArgumentError("x"), 400},   {absl::NotFoundError("x"), 404},
      {absl::ResourceExhaustedError("x"), 429}, {absl::InternalError("x"), 500},
      {absl::UnavailableError("x"), 503},       {absl::DeadlineExceededError("x"), 504},
      {absl::CancelledError("x"), 503},         {absl::UnimplementedError("x"), 501},
      {absl::UnauthenticatedError("x"), 401},   {absl::PermissionDeniedError("x"), 403},
      {absl::UnknownError("x"), 500},
  };
  for (const auto& want : kCases) {
    test.frontend().set_answerer([&](const FakeRequest&) {
      return FakeAnswer{want.status, "", "", {}};
    });
    const Response response = test.Exchange(fd, Post(kInfer, kPlainBody));
    EXPECT_EQ(response.code, want.code);
    EXPECT_EQ(response.body, R"({"error":"x"})");
    EXPECT_EQ(response.Has("retry-after: 1\r\n"), want.code == 503 || want.code == 429);
  }
  // What the frontend predicts, in whole seconds, never too early.
  for (const auto& [hint_ms, seconds] : {std::pair(1, 1), std::pair(2001, 3)}) {
    test.frontend().set_answerer([hint_ms = hint_ms](const FakeRequest&) {
      return FakeAnswer{absl::UnavailableError("x"), "", "", {}, hint_ms};
    });
    const Response response = test.Exchange(fd, Post(kInfer, kPlainBody));
    EXPECT_EQ(response.code, 503);
    EXPECT_TRUE(response.Has("retry-after: " + std::to_string(seconds) + "\r\n"));
  }
  // A bad body leaves the connection in order, too.
  EXPECT_EQ(test.Exchange(fd, Post(kInfer, "{")).code, 400);
  EXPECT_EQ(test.Exchange(fd, Post(kInfer, "")).body, R"({"error":"the body is empty"})");
  EXPECT_EQ(test.Exchange(fd, kGet).code, 200);
  close(fd);
}

TEST(HttpServer, PathsAndMethods) {
  TestServer test;
  const int fd = test.Connect();
  EXPECT_EQ(test.Exchange(fd, "GET /nowhere HTTP/1.1\r\n\r\n").code, 404);
  const Response get = test.Exchange(fd, "GET /v2/models/plain/infer HTTP/1.1\r\n\r\n");
  EXPECT_EQ(get.code, 405);
  EXPECT_TRUE(get.Has("allow: post\r\n"));
  const Response del = test.Exchange(fd, "DELETE /v2 HTTP/1.1\r\n\r\n");
  EXPECT_EQ(del.code, 405);
  EXPECT_TRUE(del.Has("allow: get, head\r\n"));
  test.Send(fd, "HEAD /v2/health/live HTTP/1.1\r\n\r\n");
  const Response head = test.Receive(fd, true);
  EXPECT_EQ(head.code, 200);
  EXPECT_TRUE(head.Has("content-length: 13\r\n"));
  EXPECT_EQ(test.unread(fd), "");
  EXPECT_EQ(test.Exchange(fd, "GET /v2/models/plain HTTP/1.1\r\n\r\n").code, 200);
  // A refused request with a body cannot keep its connection.
  const Response post = test.Exchange(fd, Post("/v2", "{}"));
  EXPECT_EQ(post.code, 405);
  EXPECT_TRUE(post.Has("connection: close\r\n"));
  close(fd);
}

TEST(HttpServer, Http10) {
  TestServer test;
  int fd = test.Connect();
  EXPECT_TRUE(test.Exchange(fd, "GET /v2 HTTP/1.0\r\n\r\n").Has("connection: close\r\n"));
  EXPECT_TRUE(test.Ends(fd));
  close(fd);
  fd = test.Connect();
  EXPECT_TRUE(test.Exchange(fd, "GET /v2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                  .Has("connection: keep-alive\r\n"));
  EXPECT_EQ(test.Exchange(fd, "GET /v2 HTTP/1.0\r\n\r\n").code, 200);
  close(fd);
}

TEST(HttpServer, WakesByDescriptorAndByTime) {
  const int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  TestServer test({}, false, wake);
  test.Settle();
  EXPECT_EQ(test.server().RunFor(std::chrono::milliseconds(5)), 0u);
  // Signalled before: returns at once, and only once.
  ASSERT_EQ(eventfd_write(wake, 1), 0);
  EXPECT_GT(test.server().RunFor(std::chrono::seconds(60)), 0u);
  EXPECT_EQ(test.server().RunFor(std::chrono::milliseconds(5)), 0u);
  const int64_t start = MonotonicNanos();
  std::thread waker([&] {
    usleep(20'000);
    EXPECT_EQ(eventfd_write(wake, 1), 0);
  });
  while (test.server().RunFor(std::chrono::seconds(60)) == 0) {
  }
  waker.join();
  EXPECT_LT(MonotonicNanos() - start, 30 * kNanosPerSecond);
  // A client wakes it as well.
  const int fd = test.Connect();
  EXPECT_GT(test.server().RunFor(std::chrono::seconds(60)), 0u);
  close(fd);
  close(wake);
}

TEST(HttpServer, RefusesWhatIsNoListeningSocket) {
  FakeFrontend frontend;
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(Message(HttpServer::Create(&frontend, {}, fd, -1).status()),
            "the HTTP descriptor is not a listening socket");
  close(fd);
  EXPECT_FALSE(HttpServer::Create(&frontend, {}, -1, -1).ok());
}

TEST(HttpServer, AChangeOfModelsIsAnsweredWhenItIsLive) {
  TestServer test;
  const int fd = test.Connect();
  test.Send(fd, Post("/v2/repository/models/plain/load", ""));
  test.Send(fd, "GET /v2/health/live HTTP/1.1\r\n\r\n");  // pipelined behind it
  ASSERT_EQ(test.frontend().changes().size(), 1u);
  EXPECT_EQ(test.frontend().changes()[0].model, "plain");
  test.Settle();
  EXPECT_EQ(test.unread(fd), "") << "nothing is said before it is live";
  // Others are served meanwhile.
  const int other = test.Connect();
  EXPECT_EQ(test.Exchange(other, "GET /v2/health/live HTTP/1.1\r\n\r\n").code, 200);
  test.frontend().Changed(absl::OkStatus());
  EXPECT_EQ(test.Receive(fd).body, "{}");
  EXPECT_EQ(test.Receive(fd).body, R"({"live":true})");
  // A client that leaves: the change goes on, its end is told to nobody.
  test.Send(fd, Post("/v2/repository/models/plain/unload", ""));
  ASSERT_EQ(test.frontend().changes().size(), 2u);
  close(fd);
  test.Settle();
  EXPECT_EQ(test.server().connections(), 1u);
  test.frontend().Changed(absl::OkStatus());
  close(other);
}

}  // namespace
}  // namespace millrace::http
