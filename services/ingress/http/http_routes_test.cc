// Routes and rollouts over HTTP: what is asked of whom, by whom, and what comes back.
#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "services/ingress/access/key_file_for_test.h"
#include "services/ingress/http/http_client_for_test.h"
#include "services/ingress/http/route_request.h"
#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

using nlohmann::json;

std::string Get(std::string_view path, std::string_view fields = "") {
  return Concat("GET ", path, " HTTP/1.1\r\n", fields, "\r\n");
}

// The command that a request became.
json CommandOf(const std::string& request) {
  TestServer test;
  test.frontend().set_routes_answerer([](const RoutesQuestion&) {
    return RoutesReply{absl::OkStatus(), "", R"({"routes":[]})"};
  });
  const int fd = test.Connect();
  const Response response = test.Exchange(fd, request);
  close(fd);
  EXPECT_EQ(response.code, 200) << response.body;
  EXPECT_EQ(response.body, R"({"routes":[]})");
  if (test.frontend().routes_asked().size() != 1) return "not asked once";
  return json::parse(test.frontend().routes_asked()[0].command_json);
}

TEST(HttpRoutes, ThePathSaysWhatIsAsked) {
  EXPECT_EQ(CommandOf(Get("/v2/routes")), json({{"verb", "route"}, {"action", "list"}}));
  EXPECT_EQ(CommandOf(Get("/v2/routes/plain")),
            json({{"verb", "route"}, {"name", "plain"}, {"action", "list"}}));
  EXPECT_EQ(CommandOf(Get("/v2/routes/plain/history")),
            json({{"verb", "route"}, {"name", "plain"}, {"action", "history"}}));
  EXPECT_EQ(CommandOf(Get("/v2/rollouts")), json({{"verb", "rollout"}, {"action", "status"}}));
  EXPECT_EQ(CommandOf(Get("/v2/rollouts/a-b.c")),
            json({{"verb", "rollout"}, {"name", "a-b.c"}, {"action", "status"}}));
}

TEST(HttpRoutes, TheBodyIsTheCommand) {
  const std::string body = R"( { "action":"canary","version":"2","share":12.5,)"
                           R"("why":"a \"}{\" ü \u00e9", "rule":{"to":[{"version":2}]}} )";
  json want = json::parse(body);
  want["verb"] = "route";
  want["name"] = "plain";
  EXPECT_EQ(CommandOf(Post("/v2/routes/plain", body)), want);
  want["verb"] = "rollout";
  EXPECT_EQ(CommandOf(Post("/v2/rollouts/plain", body)), want);
  EXPECT_EQ(CommandOf(Post("/v2/routes/plain", "{}")),
            json({{"verb", "route"}, {"name", "plain"}}));
}

TEST(HttpRoutes, WhatIsNoCommandIsRefusedAndNotAsked) {
  TestServer test;
  const auto refused = [&](const std::string& request, int code, const char* sentence) {
    const int fd = test.Connect();
    const Response response = test.Exchange(fd, request);
    close(fd);
    EXPECT_EQ(response.code, code) << request.substr(0, 200);
    EXPECT_NE(response.body.find(sentence), std::string::npos) << response.body;
  };
  for (const std::string path : {"/v2/routes/plain", "/v2/rollouts/plain"}) {
    refused(Post(path, ""), 400, "the body is empty");
    refused(Post(path, "[]"), 400, "");
    refused(Post(path, R"({"action":"list"} {})"), 400, "");
    refused(Post(path, R"({"action":"list")"), 400, "");
    refused(Post(path, R"({"action":NaN})"), 400, "");
    // Of another route than the path says, for whom the key's owner is not written down.
    refused(Post(path, R"({"action":"remove","name":"other"})"), 400, "name: is said by the path");
    refused(Post(path, R"({"action":"remove","n\u0061me":"other"})"), 400, "name: is said");
    refused(Post(path, R"({"verb":"reread_routes"})"), 400, "verb: is said by the path");
    const std::string deep = std::string(99, '[') + std::string(99, ']');
    refused(Post(path, Concat(R"({"rule":[)", deep, "]}")), 400, "");
    const std::string large(RouteRequestParser::kMostBytes, 'x');
    refused(Post(path, Concat(R"({"why":")", large, "\"}")), 413, "65536 bytes");
  }
  refused(Get("/v2/routes/a..b"), 400, "model");
  refused(Get("/v2/routes/a%2fb/history"), 400, "model");
  refused(Post("/v2/routes/%22,%22x", "{}"), 400, "model");
  EXPECT_EQ(test.frontend().routes_asked().size(), 0u);
}

TEST(HttpRoutes, WhoIsTheKeysOwnerOrWhereTheClientIs) {
  const auto who = [](TestServer* test, std::string_view fields) {
    test->frontend().set_routes_answerer([](const RoutesQuestion&) {
      return RoutesReply{absl::OkStatus(), "", "{}"};
    });
    const int fd = test->Connect();
    EXPECT_EQ(test->Exchange(fd, Get("/v2/routes", fields)).code, 200);
    close(fd);
    return test->frontend().routes_asked().back().who;
  };
  TestServer plain;
  EXPECT_EQ(who(&plain, ""), "http:127.0.0.1");
  TestServer unix_socket({}, /*unix_socket=*/true);
  EXPECT_EQ(who(&unix_socket, ""), Concat("http:uid:", getuid()));
  HttpOptions options;
  options.keys = KeysForTest();
  TestServer keyed(options);
  EXPECT_EQ(who(&keyed, "X-API-Key: admin\r\n"), "key:admin");
  EXPECT_EQ(who(&keyed, "X-API-Key: all\r\n"), "key:all");
  // Nobody else is asked for anything.
  const size_t asked = keyed.frontend().routes_asked().size();
  const int fd = keyed.Connect();
  for (const char* path : {"/v2/routes", "/v2/routes/plain", "/v2/routes/plain/history",
                           "/v2/rollouts", "/v2/rollouts/plain"}) {
    EXPECT_EQ(keyed.Exchange(fd, Get(path, "X-API-Key: infer\r\n")).code, 403) << path;
    EXPECT_EQ(keyed.Exchange(fd, Get(path, "X-API-Key: metrics\r\n")).code, 403) << path;
    EXPECT_EQ(keyed.Exchange(fd, Get(path)).code, 401) << path;
  }
  close(fd);
  EXPECT_EQ(keyed.frontend().routes_asked().size(), asked);
}

TEST(HttpRoutes, AChangeIsAnsweredWhenItIsInForce) {
  TestServer test;
  const int fd = test.Connect();
  test.Send(fd, Post("/v2/routes/plain", R"({"action":"rollback"})"));
  test.Send(fd, Get("/v2/health/live"));  // pipelined behind it
  ASSERT_EQ(test.frontend().routes_asked().size(), 1u);
  test.Settle();
  EXPECT_EQ(test.unread(fd), "") << "nothing is said before it is in force";
  const int other = test.Connect();
  EXPECT_EQ(test.Exchange(other, Get("/v2/health/live")).code, 200);
  close(other);
  test.frontend().Replied({absl::OkStatus(), "not \"kept\"", R"({"generation":3})"});
  EXPECT_EQ(test.Receive(fd).body, R"({"message":"not \"kept\"","generation":3})");
  EXPECT_EQ(test.Receive(fd).body, R"({"live":true})");
  for (const char* empty : {"", "{}"}) {
    test.Send(fd, Post("/v2/routes/plain", R"({"action":"rollback"})"));
    test.frontend().Replied({absl::OkStatus(), "x", empty});
    EXPECT_EQ(test.Receive(fd).body, R"({"message":"x"})");
  }
  test.Send(fd, "HEAD /v2/routes HTTP/1.1\r\n\r\n");
  test.frontend().Replied({absl::OkStatus(), "", R"({"generation":3})"});
  EXPECT_EQ(test.Receive(fd, true).code, 200);
  EXPECT_EQ(test.unread(fd), "");
  // What is refused leaves the connection in order.
  test.Send(fd, Post("/v2/routes/plain", R"({"action":"rollback"})"));
  test.frontend().Replied({absl::FailedPreconditionError("there is none"), "x", "{}"});
  const Response refused = test.Receive(fd);
  EXPECT_EQ(refused.code, 400);
  EXPECT_EQ(refused.body, R"({"error":"there is none"})");
  // A client that leaves: the change goes on, its end is told to nobody.
  test.Send(fd, Post("/v2/routes/plain", R"({"action":"rollback"})"));
  close(fd);
  test.Settle();
  EXPECT_EQ(test.server().connections(), 0u);
  test.frontend().Replied({absl::OkStatus(), "", "{}"});
}

}  // namespace
}  // namespace millrace::http
