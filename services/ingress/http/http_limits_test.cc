// Clients that send too much, too slowly, nonsense, or go away.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "services/ingress/http/http_client_for_test.h"
#include "services/ingress/http/http_server.h"
#include "services/ingress/http/packed_for_test.h"
#include "services/ingress/http/text.h"
#include "services/ingress/request_size.h"

namespace millrace::http {
namespace {

constexpr std::string_view kInfer = "/v2/models/plain/infer";
constexpr std::string_view kGet = "GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n";
constexpr std::string_view kChunked = " HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";

HttpOptions Small() {
  HttpOptions options;
  options.max_connections = 4;
  options.max_header_bytes = 1024;
  options.max_body_bytes = 4096;
  options.max_buffered_bytes = 10'000;
  options.header_timeout_ms = 150;
  options.body_timeout_ms = 150;
  options.idle_timeout_ms = 400;
  options.write_timeout_ms = 200;
  options.linger_ms = 200;
  options.drain_idle_ms = 50;
  return options;
}

TEST(HttpLimits, BodyOverTheLimit) {
  TestServer test(Small());
  int fd = test.Connect();
  // The client goes on sending; the answer must still reach it.
  const Response response = test.Exchange(fd, Post(kInfer, std::string(100'000, 'x')));
  EXPECT_EQ(response.code, 413);
  EXPECT_EQ(response.body, R"({"error":"the body is over the limit of 4096 bytes"})");
  EXPECT_TRUE(response.Has("connection: close\r\n"));
  EXPECT_TRUE(test.Ends(fd));
  close(fd);
  fd = test.Connect();
  EXPECT_EQ(test.Exchange(fd, Concat("POST ", kInfer, kChunked, "1001\r\n")).code, 413);
  close(fd);
  EXPECT_TRUE(test.frontend().seen().empty());
}

// The model that the path names bounds the body, in each of the ways it may come.
TEST(HttpLimits, BodyOverTheModelsLimit) {
  TestServer test;
  const size_t limit = MostBodyBytes(FakeCatalog()->models(0), HttpOptions().max_body_bytes);
  ASSERT_LT(limit, HttpOptions().max_body_bytes);
  const std::string sentence =
      Concat(R"({"error":"the body is over the limit of )", limit, R"( bytes"})");
  const std::string most = Concat(kPlainBody, std::string(limit - kPlainBody.size(), ' '));
  int fd = test.Connect();
  EXPECT_EQ(test.Exchange(fd, Post(kInfer, most)).body, kPlainAnswer);
  const size_t asked = test.frontend().seen().size();
  // By its length alone: nothing of the body is awaited.
  Response response = test.Exchange(
      fd, Concat("POST ", kInfer, " HTTP/1.1\r\nContent-Length: ", limit + 1, "\r\n\r\n"));
  EXPECT_EQ(response.code, 413);
  EXPECT_EQ(response.body, sentence);
  EXPECT_TRUE(test.Ends(fd));
  close(fd);
  fd = test.Connect();
  char size[32];
  snprintf(size, sizeof size, "%zx\r\n", limit + 1);
  EXPECT_EQ(test.Exchange(fd, Concat("POST ", kInfer, kChunked, size)).body, sentence);
  close(fd);
  fd = test.Connect();
  const std::string packed = Gzip(Concat(most, " "));
  ASSERT_LT(packed.size(), kSmallRequestBytes);
  response = test.Exchange(fd, Post(kInfer, packed, "Content-Encoding: gzip\r\n"));
  EXPECT_EQ(response.code, 413) << response.body;
  EXPECT_EQ(test.frontend().seen().size(), asked);
  // Strings have no width: the server's own limit.
  const std::string columns =
      Concat(R"({"instances":[{"age":1,"plan":"x"}]})", std::string(limit, ' '));
  EXPECT_EQ(test.Exchange(fd, Post("/v1/models/viewed:predict", columns)).code, 200);
  close(fd);
}

TEST(HttpLimits, HeaderOverTheLimit) {
  TestServer test(Small());
  for (const std::string& text :
       {Concat("GET /", std::string(2000, 'a'), " HTTP/1.1\r\n\r\n"),
        Concat("GET /v2 HTTP/1.1\r\nX: ", std::string(2000, 'a'), "\r\n\r\n"),
        Concat("GET /v2 HTTP/1.1\r\nX: ", std::string(2000, 'a')),
        Concat("POST ", kInfer, kChunked, "1;", std::string(3000, 'a'))}) {
    const int fd = test.Connect();
    EXPECT_EQ(test.Exchange(fd, text).code, 431) << text.substr(0, 40);
    EXPECT_TRUE(test.Ends(fd));
    close(fd);
  }
}

TEST(HttpLimits, NotHttp) {
  TestServer test(Small());
  for (std::string_view text :
       {"\x16\x03\x01\x02", "hello\r\n\r\n", "GET / HTTP/2.0\r\n\r\n", "GET /\r\n\r\n",
        "POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: "
        "chunked\r\n\r\n",
        "POST /v2/models/m/infer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "POST /v2/models/m/infer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabcd\r\n",
        "GET / HTTP/1.1\r\nBad Field: x\r\n\r\n", "GET / HTTP/1.1\r\n\x01: x\r\n\r\n"}) {
    const int fd = test.Connect();
    EXPECT_EQ(test.Exchange(fd, text).code, 400) << text;
    EXPECT_TRUE(test.Ends(fd));
    close(fd);
  }
}

// A body whose end is not certain must not be read as the next request.
TEST(HttpLimits, NoSmuggling) {
  TestServer test(Small());
  for (std::string_view coding : {"chunked, gzip", "gzip", "xchunked", "gzip, chunked"}) {
    const int fd = test.Connect();
    const Response response = test.Exchange(
        fd, Concat("POST ", kInfer, " HTTP/1.1\r\nTransfer-Encoding: ", coding, "\r\n\r\n", kGet));
    EXPECT_EQ(response.code, 400) << coding;
    EXPECT_TRUE(response.Has("connection: close\r\n"));
    EXPECT_TRUE(test.Ends(fd));
    EXPECT_EQ(test.unread(fd), "") << coding;
    close(fd);
  }
}

TEST(HttpLimits, ExpectContinue) {
  TestServer test(Small());
  int fd = test.Connect();
  test.Send(fd, Concat("POST ", kInfer, " HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: ",
                       kPlainBody.size(), "\r\n\r\n"));
  EXPECT_EQ(test.Receive(fd).code, 100);
  EXPECT_EQ(test.Exchange(fd, kPlainBody).body, kPlainAnswer);
  // What is refused anyway is refused before the body is sent.
  test.Send(fd, "POST /v2/nowhere HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
  EXPECT_EQ(test.Receive(fd).code, 404);
  close(fd);
  fd = test.Connect();
  EXPECT_EQ(test.Exchange(fd, Post(kInfer, "{}", "Expect: magic\r\n")).code, 417);
  close(fd);
}

TEST(HttpLimits, SlowClients) {
  TestServer test(Small());
  int fd = test.Connect();
  EXPECT_EQ(test.Exchange(fd, "GET /v2 HT").code, 408);
  EXPECT_TRUE(test.Ends(fd));
  close(fd);
  // A byte now and then does not help.
  fd = test.Connect();
  test.Send(fd, Concat("POST ", kInfer, " HTTP/1.1\r\nContent-Length: 4000\r\n\r\n"));
  const int64_t start = MonotonicNanos();
  while (test.unread(fd).empty() && MonotonicNanos() - start < 5 * kNanosPerSecond) {
    test.Send(fd, " ");
    usleep(10'000);
    char byte;
    if (recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) > 0) break;
  }
  EXPECT_EQ(test.Receive(fd).code, 408);
  EXPECT_LT(MonotonicNanos() - start, 2 * kNanosPerSecond);
  close(fd);
  // Idle connections end without a word.
  fd = test.Connect();
  EXPECT_TRUE(test.Ends(fd, 3000));
  EXPECT_EQ(test.unread(fd), "");
  close(fd);
  EXPECT_GE(test.server().counters().timeouts, 3u);
}

TEST(HttpLimits, AClientThatDoesNotRead) {
  TestServer test(Small());
  const std::string big(8 << 20, 'z');
  test.frontend().set_answerer([&](const FakeRequest&) {
    return FakeAnswer{
        absl::OkStatus(), "plain", "1", {{"y", DataType::kUint8, {int64_t(big.size())}, big}}};
  });
  const int fd = test.Connect();
  test.Send(fd, Post(kInfer, kPlainBody));
  for (int i = 0; i < 100 && test.server().connections() > 0; ++i) {
    test.Settle();
    usleep(10'000);
  }
  EXPECT_EQ(test.server().connections(), 0u);
  close(fd);
}

TEST(HttpLimits, TooManyConnections) {
  TestServer test(Small());
  std::vector<int> fds;
  for (int i = 0; i < 4; ++i) {
    fds.push_back(test.Connect());
    EXPECT_EQ(test.Exchange(fds.back(), kGet).code, 200);
  }
  const int extra = test.Connect();
  const Response refused = test.Receive(extra);
  EXPECT_EQ(refused.code, 503);
  EXPECT_TRUE(refused.Has("retry-after: 1\r\n"));
  EXPECT_TRUE(test.Ends(extra));
  close(extra);
  EXPECT_EQ(test.server().counters().refused_connections, 1u);
  close(fds.back());
  test.Settle();
  fds.back() = test.Connect();
  EXPECT_EQ(test.Exchange(fds.back(), kGet).code, 200);
  for (int fd : fds) close(fd);
}

// Without descriptors nothing is accepted, nothing spins, and all is well again afterwards.
TEST(HttpLimits, OutOfDescriptors) {
  TestServer test;
  const int fd = test.Connect();
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = 0;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  test.Settle();
  EXPECT_EQ(test.server().connections(), 0u);
  EXPECT_EQ(test.server().RunFor(std::chrono::milliseconds(5)), 0u);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(test.Exchange(fd, kGet).code, 200);
  close(fd);
}

TEST(HttpLimits, BodiesShareABudget) {
  TestServer test(Small());
  const std::string header = Concat("POST ", kInfer, " HTTP/1.1\r\nContent-Length: 4000\r\n\r\n");
  const int first = test.Connect();
  const int second = test.Connect();
  const int third = test.Connect();
  test.Send(first, header);
  test.Send(second, header);
  EXPECT_EQ(test.Exchange(third, header).code, 503);
  close(first);
  test.Settle();
  const int fourth = test.Connect();
  std::string body(kPlainBody);
  body.resize(4000, ' ');
  EXPECT_EQ(test.Exchange(fourth, header + body).code, 200);
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(test.Exchange(fourth, Post("/v2/health/live", "")).code, 405);
  for (int fd : {second, third, fourth}) close(fd);
}

TEST(HttpLimits, DisconnectCancels) {
  TestServer test(Small());
  test.frontend().set_mode(FakeFrontend::Mode::kHold);
  const int gone = test.Connect();
  const int stays = test.Connect();
  test.Send(gone, Post(kInfer, kPlainBody));
  test.Send(stays, Post(kInfer, kPlainBody));
  EXPECT_EQ(test.server().active_requests(), 2u);
  close(gone);
  test.Settle();
  EXPECT_EQ(test.frontend().cancelled(), std::vector<RequestId>{test.frontend().seen()[0].id});
  EXPECT_EQ(test.server().active_requests(), 1u);
  EXPECT_EQ(test.server().connections(), 1u);
  EXPECT_EQ(test.server().counters().cancelled, 1u);
  test.frontend().ReleaseAll();
  EXPECT_EQ(test.Receive(stays).body, kPlainAnswer);
  close(stays);
}

TEST(HttpLimits, DisconnectIsSeenBehindPipelinedRequests) {
  TestServer test(Small());
  test.frontend().set_mode(FakeFrontend::Mode::kHold);
  const int fd = test.Connect();
  test.Send(fd, Concat(Post(kInfer, kPlainBody), kGet, kGet));
  close(fd);
  test.Settle();
  EXPECT_EQ(test.frontend().cancelled().size(), 1u);
  EXPECT_EQ(test.server().connections(), 0u);
  EXPECT_EQ(test.server().counters().requests, 1u);
}

// More is pipelined than is read ahead, so that the end of the stream stands behind it, unread.
TEST(HttpLimits, DisconnectIsSeenBehindAFullBuffer) {
  for (std::string text :
       {Post(kInfer, kPlainBody), std::string("GET /v2/routes HTTP/1.1\r\n\r\n")}) {
    TestServer test(Small());
    test.frontend().set_mode(FakeFrontend::Mode::kHold);
    const int fd = test.Connect();
    while (text.size() < 64 << 10) text += kGet;
    test.Send(fd, text);
    EXPECT_EQ(test.server().connections(), 1u);
    close(fd);
    const int64_t until_ns = MonotonicNanos() + 10 * kNanosPerSecond;
    while (test.server().connections() > 0 && MonotonicNanos() < until_ns) test.Settle();
    EXPECT_EQ(test.server().connections() + test.frontend().in_flight(), 0u);
  }
}

TEST(HttpLimits, ResetWhileReadingAndWriting) {
  TestServer test(Small());
  for (int i = 0; i < 20; ++i) {
    const int fd = test.Connect();
    const linger hard = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    const std::string text = Post(kInfer, kPlainBody);
    test.Send(fd, text.substr(0, i % 2 == 0 ? text.size() : text.size() * i / 20));
    close(fd);
    test.Settle();
    EXPECT_EQ(test.server().connections(), 0u);
  }
}

TEST(HttpDrain, FinishesWhatIsInFlight) {
  TestServer test(Small());
  test.frontend().set_mode(FakeFrontend::Mode::kHold);
  const int busy = test.Connect();
  const int idle = test.Connect();
  const int late = test.Connect();
  test.Send(busy, Post(kInfer, kPlainBody));
  test.Settle();
  test.server().Drain();
  EXPECT_FALSE(test.server().drained());
  // An idle client whose request was already under way is still answered, and told.
  const Response ready = test.Exchange(late, "GET /v2/health/ready HTTP/1.1\r\n\r\n");
  EXPECT_EQ(ready.code, 503);
  EXPECT_TRUE(ready.Has("connection: close\r\n"));
  EXPECT_TRUE(test.Ends(idle, 2000));
  EXPECT_EQ(test.server().active_requests(), 1u);
  test.frontend().ReleaseAll();
  const Response answer = test.Receive(busy);
  EXPECT_EQ(answer.body, kPlainAnswer);
  EXPECT_TRUE(answer.Has("connection: close\r\n"));
  EXPECT_TRUE(test.Ends(busy));
  for (int fd : {busy, idle, late}) close(fd);
  test.Settle();
  EXPECT_TRUE(test.server().drained());
  // The socket is not this server's any more: nobody answers.
  const int next = test.Connect();
  test.Send(next, kGet);
  EXPECT_FALSE(test.Ends(next, 50));
  EXPECT_EQ(test.unread(next), "");
  close(next);
}

// Another process serves: clients are served until they ask next, and told to come back.
TEST(HttpMove, EachConnectionEndsWithItsNextAnswer) {
  TestServer test;
  const int idle = test.Connect();
  const int busy = test.Connect();
  EXPECT_EQ(test.Exchange(idle, Post(kInfer, kPlainBody)).body, kPlainAnswer);
  test.frontend().set_mode(FakeFrontend::Mode::kHold);
  test.Send(busy, Post(kInfer, kPlainBody));
  test.Settle();
  test.server().Move();
  test.server().Move();
  test.frontend().ReleaseAll();
  const Response answer = test.Receive(busy);
  EXPECT_EQ(answer.body, kPlainAnswer);
  EXPECT_TRUE(answer.Has("connection: close\r\n"));
  EXPECT_TRUE(test.Ends(busy));
  close(busy);
  test.Settle();
  EXPECT_FALSE(test.server().drained());
  EXPECT_FALSE(test.Ends(idle, 700)) << "longer than a drain leaves it";
  const Response ready = test.Exchange(idle, "GET /v2/health/ready HTTP/1.1\r\n\r\n");
  EXPECT_EQ(ready.code, 200) << "the server as a whole is";
  EXPECT_TRUE(ready.Has("connection: close\r\n"));
  EXPECT_TRUE(test.Ends(idle));
  close(idle);
  test.Settle();
  EXPECT_TRUE(test.server().drained());
  const int next = test.Connect();
  test.Send(next, kGet);
  EXPECT_FALSE(test.Ends(next, 50)) << "it waits for the other process";
  close(next);
}

TEST(HttpDrain, DestroyedWithRequestsInFlight) {
  FakeFrontend frontend;
  frontend.set_mode(FakeFrontend::Mode::kHold);
  int fd = -1;
  {
    TestServer test(Small(), false, -1, &frontend);
    fd = test.Connect();
    test.Send(fd, Post(kInfer, kPlainBody));
    test.Settle();
    EXPECT_EQ(frontend.in_flight(), 1u);
  }
  EXPECT_EQ(frontend.cancelled().size(), 1u);
  EXPECT_EQ(frontend.Poll(), 1u);  // the late answer finds its completion
  char byte;
  EXPECT_LE(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
  close(fd);
}

}  // namespace
}  // namespace millrace::http
