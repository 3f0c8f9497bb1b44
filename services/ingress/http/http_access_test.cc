// Who is let in over HTTP, what is told to the others, and that it comes before the body.
#include <gtest/gtest.h>
#include <unistd.h>

#include "services/ingress/access/key_file_for_test.h"
#include "services/ingress/http/http_client_for_test.h"
#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

constexpr std::string_view kInfer = "/v2/models/plain/infer";

HttpOptions Keyed() {
  HttpOptions options;
  options.keys = KeysForTest();
  return options;
}

Response Ask(TestServer* test, std::string_view fields) {
  const int fd = test->Connect();
  const Response response = test->Exchange(fd, Post(kInfer, kPlainBody, fields));
  close(fd);
  return response;
}

TEST(HttpAccess, AKeyIsShownInEitherField) {
  TestServer test(Keyed());
  for (const char* fields :
       {"Authorization: Bearer infer\r\n", "authorization: bearer infer\r\n",
        "X-API-Key: infer\r\n", "Authorization: Basic eDp5\r\nX-API-Key: infer\r\n"}) {
    const Response response = Ask(&test, fields);
    EXPECT_EQ(response.code, 200) << fields;
    EXPECT_EQ(response.body, kPlainAnswer);
  }
  // The first that is shown counts: a wrong one is not forgiven for the sake of another.
  for (const char* fields :
       {"", "Authorization: infer\r\n", "Authorization: Basic infer\r\n", "X-API-Key: Infer\r\n",
        "X-API-Key:\r\n", "Authorization: Bearer x\r\nX-API-Key: infer\r\n"}) {
    const Response response = Ask(&test, fields);
    EXPECT_EQ(response.code, 401) << fields;
    EXPECT_TRUE(response.Has("www-authenticate: bearer realm=\"millrace\"\r\n"));
  }
  EXPECT_EQ(Ask(&test, "X-API-Key: admin\r\n").code, 403);
  EXPECT_EQ(test.frontend().seen().size(), 4u);
}

TEST(HttpAccess, IsDecidedBeforeTheBody) {
  TestServer test(Keyed());
  // No byte of the body is sent, nor invited.
  const std::string head = Concat("POST ", kInfer, " HTTP/1.1\r\nContent-Length: 1000\r\n");
  int fd = test.Connect();
  Response response = test.Exchange(fd, head + "Expect: 100-continue\r\n\r\n");
  EXPECT_EQ(response.code, 401);
  EXPECT_TRUE(response.Has("connection: close\r\n"));
  EXPECT_TRUE(test.Ends(fd));
  close(fd);
  fd = test.Connect();
  EXPECT_EQ(test.Exchange(fd, head + "X-API-Key: metrics\r\n\r\n").code, 403);
  close(fd);
  // Without a body the connection stays in order.
  fd = test.Connect();
  EXPECT_EQ(test.Exchange(fd, "GET /v2 HTTP/1.1\r\n\r\n").code, 401);
  EXPECT_EQ(test.Exchange(fd, "GET /v2 HTTP/1.1\r\nX-API-Key: infer\r\n\r\n").code, 200);
  close(fd);
}

TEST(HttpAccess, AUsedUpKeyIsToldWhenToComeAgain) {
  TestServer test(Keyed());
  EXPECT_EQ(Ask(&test, "X-API-Key: once\r\n").code, 200);
  const Response response = Ask(&test, "X-API-Key: once\r\n");
  EXPECT_EQ(response.code, 429);
  const std::string name = "\r\nretry-after: ";
  const size_t at = response.head.find(name);
  ASSERT_NE(at, std::string::npos);
  // The end of the quota's period is far away; the field stands once.
  EXPECT_GT(atoll(response.head.c_str() + at + name.size()), 1000);
  EXPECT_EQ(response.head.find(name, at + 1), std::string::npos);
  EXPECT_EQ(test.frontend().quota_refusals(), 1u);
  EXPECT_EQ(Ask(&test, "X-API-Key: all\r\n").code, 200);
}

TEST(HttpAccess, ARouteKnowsHeaderPathKeyAndOwner) {
  TestServer test(Keyed());
  std::vector<std::string> why;
  test.frontend().set_resolver(ResolverForTest(&why));
  const auto ask = [&](std::string_view path, std::string_view fields,
                       std::string_view body = kPlainBody) {
    why.clear();
    const int fd = test.Connect();
    const Response response = test.Exchange(fd, Post(path, body, fields));
    close(fd);
    EXPECT_EQ(response.code, 200) << response.body;
    EXPECT_EQ(why.size(), 1u) << "a request is routed once";
    const std::string version = test.frontend().seen().back().version;
    EXPECT_EQ(version, why[0].empty() ? "" : "2");
    return why[0];
  };
  const std::string infer = "X-API-Key: infer\r\n";
  EXPECT_EQ(ask(kInfer, infer), "");
  EXPECT_EQ(ask(kInfer, infer + "X-Stage: canary\r\n"), "header");
  EXPECT_EQ(ask(kInfer, infer + "X-Stage: canary2\r\n"), "");
  EXPECT_EQ(ask(kInfer, "X-API-Key: all\r\n"), "tenant");
  // Whose key it is, and not whom the client says it is.
  EXPECT_EQ(ask(kInfer, infer + "tenant: all\r\n"), "");
  EXPECT_EQ(ask(std::string("/staging") + std::string(kInfer), infer), "path");
  std::string keyed(R"({"parameters":{"millrace-client-key":"me"},)");
  keyed += kPlainBody.substr(1);
  EXPECT_EQ(ask(kInfer, infer, keyed), "key");
  EXPECT_EQ(
      ask("/v1/models/plain:predict", infer + "x-stage: canary\r\n", R"({"instances":[[1,2,3]]})"),
      "header");
  // A connection's next request is asked about anew.
  const int fd = test.Connect();
  EXPECT_EQ(test.Exchange(fd, Post(kInfer, kPlainBody, "X-API-Key: all\r\n")).code, 200);
  EXPECT_EQ(test.Exchange(fd, Post(kInfer, kPlainBody, infer)).code, 200);
  close(fd);
  EXPECT_EQ(why.back(), "");
}

TEST(HttpAccess, WithoutAKeyFileThisMachineNeedsNone) {
  for (const bool unix_socket : {false, true}) {
    TestServer test({}, unix_socket);
    const int fd = test.Connect();
    EXPECT_EQ(test.Exchange(fd, Post(kInfer, kPlainBody)).code, 200);
    test.frontend().set_change_status(absl::OkStatus());
    EXPECT_EQ(test.Exchange(fd, Post("/v2/repository/models/plain/load", "")).code, 200);
    close(fd);
  }
}

}  // namespace
}  // namespace millrace::http
