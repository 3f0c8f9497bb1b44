// Packed bodies and packed answers, over a connection.
#include <gtest/gtest.h>
#include <unistd.h>

#include "services/ingress/http/content_coding.h"
#include "services/ingress/http/http_client_for_test.h"
#include "services/ingress/http/http_server.h"
#include "services/ingress/http/openapi.h"
#include "services/ingress/http/packed_for_test.h"
#include "services/ingress/http/padded_for_test.h"
#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

constexpr std::string_view kInfer = "/v2/models/plain/infer";
constexpr std::string_view kGzipped = "Content-Encoding: gzip\r\n";

std::string Unpacked(const std::string& packed) {
  Unpacker unpacker;
  std::string text;
  EXPECT_TRUE(unpacker.Unpack(Coding::kGzip, packed, 64 << 20, &text).ok());
  return text;
}

TEST(HttpCoding, PackedBodies) {
  TestServer test;
  const int fd = test.Connect();
  const std::string body(kPlainBody);
  const std::pair<std::string, std::string_view> kBodies[] = {
      {Gzip(body), kGzipped},
      {Gzip(body.substr(0, 9)) + Gzip(body.substr(9)), kGzipped},
      {Gzip(body, 0), "content-encoding: X-Gzip\r\n"},
      {Zlib(body), "Content-Encoding: deflate\r\n"},
      {body, "Content-Encoding: identity\r\n"}};
  for (const auto& [packed, field] : kBodies) {
    const Response response = test.Exchange(fd, Post(kInfer, packed, field));
    EXPECT_EQ(response.code, 200) << field << response.body;
    EXPECT_EQ(response.body, kPlainAnswer);
  }
  const std::string predict = R"({"instances":[[1,2,3]]})";
  EXPECT_EQ(test.Exchange(fd, Post("/v1/models/plain:predict", Gzip(predict), kGzipped)).code, 200);
  EXPECT_EQ(test.Exchange(fd, Post("/v2/repository/index", Gzip("{}"), kGzipped)).code, 200);
  EXPECT_EQ(test.Exchange(fd, Post(kInfer, "", kGzipped)).body, R"({"error":"the body is empty"})");
  EXPECT_EQ(test.Exchange(fd, Post(kInfer, Gzip(""), kGzipped)).body,
            R"({"error":"the body is empty"})");
  close(fd);
}

TEST(HttpCoding, PackedInChunksByteByByte) {
  TestServer test;
  const int fd = test.Connect();
  const std::string packed = Gzip(kPlainBody);
  std::string text =
      Concat("POST ", kInfer, " HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", kGzipped, "\r\n");
  for (char c : packed) Append(&text, "1\r\n", std::string_view(&c, 1), "\r\n");
  Append(&text, "0\r\n\r\n");
  for (char c : text) test.Send(fd, {&c, 1});
  EXPECT_EQ(test.Receive(fd).body, kPlainAnswer);
  close(fd);
}

// The JSON's length is that of the text before it was packed.
TEST(HttpCoding, BinaryTensorsBothWays) {
  HttpOptions options;
  options.compress_from_bytes = 100;
  TestServer test(options);
  const int fd = test.Connect();
  std::string json =
      R"({"parameters":{"binary_data_output":true},"inputs":[{"name":"input","shape":[1,300],)"
      R"("datatype":"FP32","parameters":{"binary_data_size":1200}}]})";
  const std::string binary(1200, '\1');
  const Response response =
      test.Exchange(fd, Post(kInfer, Gzip(json + binary),
                             Concat(kGzipped, "Inference-Header-Content-Length: ", json.size(),
                                    "\r\nAccept-Encoding: gzip, deflate\r\n")));
  EXPECT_EQ(response.code, 200) << response.body;
  EXPECT_TRUE(response.Has("content-encoding: gzip\r\n"));
  EXPECT_TRUE(response.Has("content-type: application/octet-stream\r\n"));
  const std::string want =
      R"({"model_name":"plain","model_version":"1","outputs":[{"name":"input",)"
      R"("datatype":"FP32","shape":[1,300],"parameters":{"binary_data_size":1200}}]})";
  EXPECT_EQ(Unpacked(response.body), want + binary);
  EXPECT_TRUE(response.Has(Concat("inference-header-content-length: ", want.size(), "\r\n")));
  close(fd);
}

TEST(HttpCoding, BrokenStreamsLeaveTheConnectionInOrder) {
  TestServer test;
  const int fd = test.Connect();
  const std::string good = Gzip(kPlainBody);
  std::string checksum = good;
  checksum[checksum.size() - 8] ^= 1;
  const std::pair<std::string, const char*> kBodies[] = {
      {good.substr(0, good.size() - 1), "it ends too early"},
      {good.substr(0, 5), "it ends too early"},
      {checksum, "it is damaged"},
      {good + "tail", "it is damaged"},
      {std::string(kPlainBody), "it is damaged"}};
  for (const auto& [body, how] : kBodies) {
    const Response response = test.Exchange(fd, Post(kInfer, body, kGzipped));
    EXPECT_EQ(response.code, 400);
    EXPECT_EQ(response.body, Concat(R"({"error":"Content-Encoding: the body is not a whole gzip )",
                                    "stream: ", how, "\"}"));
    EXPECT_FALSE(response.Has("connection: close"));
    EXPECT_EQ(test.Exchange(fd, Post(kInfer, good, kGzipped)).body, kPlainAnswer);
  }
  const Response tail =
      test.Exchange(fd, Post(kInfer, Zlib(kPlainBody) + "x", "Content-Encoding: deflate\r\n"));
  EXPECT_EQ(tail.body, R"({"error":"Content-Encoding: the body is not a whole deflate (zlib) )"
                       R"(stream: bytes follow it"})");
  EXPECT_EQ(test.server().counters().connections, 1u);
  close(fd);
}

TEST(HttpCoding, TheLimitIsThatOfABody) {
  HttpOptions options;
  options.max_body_bytes = 10'000;
  TestServer test(options);
  const int fd = test.Connect();
  const std::string fits = std::string(kPlainBody) + std::string(10'000 - kPlainBody.size(), ' ');
  EXPECT_EQ(test.Exchange(fd, Post(kInfer, Gzip(fits), kGzipped)).code, 200);
  for (const std::string& text : {fits + " ", std::string(2'000'000, ' ')}) {
    const Response over = test.Exchange(fd, Post(kInfer, Gzip(text), kGzipped));
    EXPECT_EQ(over.code, 413);
    EXPECT_EQ(over.body, R"({"error":"Content-Encoding: the body is over the limit of 10000 )"
                         R"(bytes unpacked"})");
    EXPECT_EQ(test.Exchange(fd, Post(kInfer, Gzip(fits), kGzipped)).code, 200);
  }
  close(fd);
}

TEST(HttpCoding, OtherCodingsAreNamed) {
  TestServer test;
  for (std::string_view field : {"Content-Encoding: br\r\n", "Content-Encoding: gzip, gzip\r\n",
                                 "Content-Encoding: identity\r\nContent-Encoding: gzip\r\n"}) {
    const int fd = test.Connect();
    const Response response = test.Exchange(fd, Post(kInfer, Gzip(kPlainBody), field));
    EXPECT_EQ(response.code, 415) << field;
    EXPECT_EQ(response.body,
              R"({"error":"Content-Encoding: only gzip and deflate are supported"})");
    EXPECT_TRUE(response.Has("accept-encoding: gzip, deflate\r\n"));
    close(fd);
  }
}

TEST(HttpCoding, AnswersArePackedOnlyIfAskedAndLarge) {
  TestServer test;
  const int fd = test.Connect();
  const auto get = [&](std::string_view method, std::string_view target, std::string_view accept) {
    test.Send(fd, Concat(method, " ", target, " HTTP/1.1\r\n", accept, "\r\n"));
    return test.Receive(fd, method == "HEAD");
  };
  const Response packed = get("GET", "/openapi.json", "Accept-Encoding: br, gzip;q=0.5\r\n");
  EXPECT_TRUE(packed.Has("content-encoding: gzip\r\n"));
  EXPECT_TRUE(packed.Has("vary: accept-encoding\r\n"));
  EXPECT_LT(packed.body.size() * 4, OpenApiText().size());
  EXPECT_EQ(Unpacked(packed.body), OpenApiText());
  const Response head = get("HEAD", "/openapi.json", "Accept-Encoding: gzip\r\n");
  EXPECT_TRUE(head.Has(Concat("content-length: ", packed.body.size(), "\r\n")));
  EXPECT_TRUE(head.Has("content-encoding: gzip\r\n"));
  for (std::string_view accept :
       {"", "Accept-Encoding: identity\r\n", "Accept-Encoding: gzip;q=0\r\n"}) {
    const Response plain = get("GET", "/openapi.json", accept);
    EXPECT_FALSE(plain.Has("content-encoding")) << accept;
    EXPECT_TRUE(plain.Has("vary: accept-encoding\r\n"));
    EXPECT_EQ(plain.body, OpenApiText());
  }
  const Response small = get("GET", "/v2", "Accept-Encoding: gzip\r\n");
  EXPECT_FALSE(small.Has("content-encoding"));
  EXPECT_FALSE(small.Has("vary"));
  close(fd);
}

// One thread serves all: it does not pack what would hold up the others.
TEST(HttpCoding, HugeAnswersAreNotPacked) {
  HttpOptions options;
  options.compress_to_bytes = OpenApiText().size() - 1;
  TestServer test(options);
  const int fd = test.Connect();
  const Response response =
      test.Exchange(fd, "GET /openapi.json HTTP/1.1\r\nAccept-Encoding: gzip\r\n\r\n");
  EXPECT_FALSE(response.Has("content-encoding"));
  EXPECT_EQ(response.body, OpenApiText());
  close(fd);
}

}  // namespace
}  // namespace millrace::http
