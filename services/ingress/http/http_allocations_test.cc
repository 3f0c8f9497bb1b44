// What the lane's thread allocates for each request over HTTP on a connection that is kept.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/check.h"
#include "common/clock.h"
#include "common/testing/allocations.h"
#include "services/ingress/access/key_file_for_test.h"
#include "services/ingress/http/http_client_for_test.h"
#include "services/ingress/http/http_server.h"
#include "services/ingress/http/packed_for_test.h"
#include "services/ingress/http/text.h"
#include "services/ingress/testing/quiet_frontend.h"

namespace millrace::http {
namespace {

constexpr int kWarmUp = 50;
constexpr int kCounted = 200;
constexpr std::string_view kInfer = "/v2/models/plain/infer";
// As clients send them.
constexpr std::string_view kFields =
    "Accept: */*\r\nAccept-Encoding: identity\r\nConnection: keep-alive\r\n"
    "User-Agent: an inference client with a name that takes some bytes/2.48.0 (linux; x86_64)\r\n"
    "Content-Type: application/json\r\nX-Request-Id: 0123456789abcdef0123456789abcdef\r\n";

// A server and one client on this thread; the client's own part allocates nothing.
class QuietServer {
 public:
  explicit QuietServer(int rows, const HttpOptions& options = {})
      : frontend_(
            rows,
            [this] {
              if (clumsy_) std::string(kFields).swap(wasted_);
            },
            FakeCatalog()) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    listening_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    client_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MR_CHECK(bind(listening_, generic, size) == 0 && listen(listening_, 1) == 0 &&
                 getsockname(listening_, generic, &size) == 0,
             "a listening socket");
    auto server = HttpServer::Create(&frontend_, options, listening_, -1);
    MR_CHECK(server.ok(), "the server starts");
    server_ = *std::move(server);
    MR_CHECK(connect(client_, generic, size) == 0, "a connection");
  }
  ~QuietServer() {
    server_.reset();
    close(client_);
    close(listening_);
  }

  void set_clumsy() { clumsy_ = true; }

  // Allocations of kCounted requests after the warm-up.
  uint64_t Allocated(const std::string& request) {
    for (int i = 0; i < kWarmUp; ++i) Exchange(request);
    uint64_t sum = 0;
    for (int i = 0; i < kCounted; ++i) sum += Exchange(request);
    return sum;
  }

 private:
  uint64_t Exchange(std::string_view request) {
    uint64_t allocated = 0;
    size_t got = 0;
    const int64_t end_ns = MonotonicNanos() + 10 * kNanosPerSecond;
    while (!request.empty() || !IsWhole({answer_, got})) {
      MR_CHECK(MonotonicNanos() < end_ns, "a request is answered");
      const ssize_t sent = send(client_, request.data(), request.size(), MSG_DONTWAIT);
      if (sent > 0) request.remove_prefix(static_cast<size_t>(sent));
      const uint64_t before = Allocations();
      server_->Poll();
      frontend_.Poll();
      allocated += Allocations() - before;
      const ssize_t bytes = recv(client_, answer_ + got, sizeof answer_ - got, MSG_DONTWAIT);
      if (bytes > 0) got += static_cast<size_t>(bytes);
    }
    return allocated;
  }

  static bool IsWhole(std::string_view answer) {
    const size_t head = answer.find("\r\n\r\n");
    if (head == std::string_view::npos) return false;
    MR_CHECK(answer.starts_with("HTTP/1.1 200 "), "a request is a good one");
    constexpr std::string_view kLength = "Content-Length: ";
    const size_t at = answer.find(kLength);
    MR_CHECK(at < head, "an answer has a length");
    return answer.size() == head + 4 + strtoul(answer.data() + at + kLength.size(), nullptr, 10);
  }

  QuietFrontend frontend_;
  bool clumsy_ = false;
  std::string wasted_;
  std::unique_ptr<HttpServer> server_;
  int listening_ = -1;
  int client_ = -1;
  char answer_[1 << 16];
};

std::string Request(std::string_view path, std::string_view body, std::string_view fields = "") {
  return Post(path, body, Concat(kFields, fields));
}

std::string Json(int rows, std::string_view more = "") {
  std::string body = Concat("{\"id\":\"an id of the client's own choice\",", more,
                            "\"inputs\":[{\"name\":\"input\",\"shape\":[", rows,
                            ",3],\"datatype\":\"FP32\",\"data\":[");
  for (int i = 0; i < 3 * rows; ++i) Append(&body, i == 0 ? "" : ",", i, ".25");
  return body + "]}]}";
}

std::string Binary(int rows) {
  const std::string head = Concat(
      R"({"parameters":{"binary_data_output":true,"timeout":5000000},"inputs":[{"name":"input",)",
      R"("shape":[)", rows, R"(,3],"datatype":"FP32","parameters":{"binary_data_size":)", rows * 12,
      "}}]}");
  return Request(kInfer, head + std::string(rows * 12, 'r'),
                 Concat("Inference-Header-Content-Length: ", head.size(), "\r\n"));
}

class HttpAllocationsTest : public ::testing::TestWithParam<int> {};

TEST_P(HttpAllocationsTest, JsonTakesNothing) {
  EXPECT_EQ(QuietServer(GetParam()).Allocated(Request(kInfer, Json(GetParam()))), 0u);
}

TEST_P(HttpAllocationsTest, BinaryTensorsTakeNothing) {
  EXPECT_EQ(QuietServer(GetParam()).Allocated(Binary(GetParam())), 0u);
}

TEST_P(HttpAllocationsTest, ABodyOfBytesAloneTakesNothing) {
  const std::string body(GetParam() * 12, 'r');
  EXPECT_EQ(QuietServer(GetParam())
                .Allocated(Request(kInfer, body, "Inference-Header-Content-Length: 0\r\n")),
            0u);
}

TEST_P(HttpAllocationsTest, RowsOfPredictTakeNothing) {
  std::string body = "{\"instances\":[";
  for (int i = 0; i < GetParam(); ++i) Append(&body, i == 0 ? "" : ",", "[1,2,", i, "]");
  EXPECT_EQ(QuietServer(GetParam()).Allocated(Request("/v1/models/plain:predict", body + "]}")),
            0u);
}

TEST_P(HttpAllocationsTest, OneMoreIsSeen) {
  QuietServer server(GetParam());
  server.set_clumsy();
  EXPECT_EQ(server.Allocated(Binary(GetParam())), uint64_t{kCounted});
}

INSTANTIATE_TEST_SUITE_P(Rows, HttpAllocationsTest, ::testing::Values(1, 100),
                         ::testing::PrintToStringParamName());

TEST(HttpAllocationsTest, LongNamesTakeNothing) {
  const std::string path = "/v2/models/a_model_with_a_rather_long_name/versions/20261126/infer";
  EXPECT_EQ(QuietServer(1).Allocated(Request(path, Json(1))), 0u);
}

TEST(HttpAllocationsTest, NamedOutputsTakeNothing) {
  const std::string more =
      R"("outputs":[{"name":"prediction","parameters":{"binary_data":true}},{"name":"class"}],)";
  EXPECT_EQ(QuietServer(1).Allocated(Request(kInfer, Json(1, more))), 0u);
}

TEST(HttpAllocationsTest, AKeyTakesNothing) {
  HttpOptions options;
  options.keys = KeysForTest();
  // The test's file is gone: the one look at it in a second is a fault, which is logged.
  EXPECT_LE(QuietServer(1, options).Allocated(Request(kInfer, Json(1), "X-API-Key: infer\r\n")),
            uint64_t{kCounted} / 2);
}

// A packed text and what it was or becomes are both there for a while: one string, for either.
TEST(HttpAllocationsTest, APackedBodyTakesOne) {
  const std::string body = Gzip(Json(100));
  EXPECT_EQ(QuietServer(100).Allocated(Request(kInfer, body, "Content-Encoding: gzip\r\n")),
            uint64_t{kCounted});
}

TEST(HttpAllocationsTest, APackedAnswerTakesOne) {
  HttpOptions options;
  options.compress_from_bytes = 1;
  std::string request = Request(kInfer, Json(1000));
  request.replace(request.find("identity"), 8, "gzip    ");
  EXPECT_EQ(QuietServer(1000, options).Allocated(request), uint64_t{kCounted});
}

}  // namespace
}  // namespace millrace::http
