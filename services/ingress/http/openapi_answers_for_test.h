// A server, and answers of it held to the document.
//
// Purpose: one exchange, checked by code and by schema. Who may call: tests. Ownership: borrows the
//   document. What fails: the test that asks.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "services/ingress/http/http_client_for_test.h"
#include "services/ingress/http/openapi_for_test.h"
#include "services/ingress/http/text.h"

namespace millrace::http {

class Answers {
 public:
  explicit Answers(OpenApi* api, const HttpOptions& options = {}) : api_(api), test_(options) {}

  TestServer& test() { return test_; }
  FakeFrontend& frontend() { return test_.frontend(); }

  // `whole`: the server has read the header, so that it knows that HEAD wants no body.
  Response Expect(const Operation& operation, const std::string& text, int code,
                  bool whole = true) {
    const int fd = test_.Connect();
    test_.Send(fd, text);
    Response response = test_.Receive(fd, operation.method == "HEAD" || code == 304);
    EXPECT_EQ(response.code, code) << text.substr(0, 200) << response.body;
    EXPECT_EQ(api_->Check(operation, response), "") << text.substr(0, 200);
    if (whole && operation.method == "HEAD") {
      EXPECT_EQ(test_.unread(fd), "") << operation.path;
    }
    close(fd);
    test_.Settle();
    return response;
  }

  void SetStatus(const absl::Status& status) {
    frontend().set_answerer([status](const FakeRequest&) {
      return FakeAnswer{status, "", "", {}};
    });
  }

 private:
  OpenApi* api_;
  TestServer test_;
};

// The first line and a few fields, without a body.
inline std::string Bare(const Operation& operation, std::string_view target,
                        std::string_view fields) {
  return Concat(operation.method, " ", target, " HTTP/1.1\r\n", fields, "\r\n");
}

// What is told of routes: to each question what openapi.json promises.
inline RoutesReply RoutesReplyFor(const RoutesQuestion& question) {
  const auto asks = [&](const char* word) {
    return question.command_json.find(word) != std::string::npos;
  };
  if (asks("\"nobody\"")) return {absl::NotFoundError("there is none"), "", ""};
  const std::string change = R"("generation":3,"at":"2026-11-26T10:00:00Z","who":"key:ann",)"
                             R"("why":"as a test","action":"promote","name":"plain")";
  if (asks("\"rollout\"")) {
    return {absl::OkStatus(), "",
            R"({"rollouts":[{"name":"plain","model":"plain","from":"1","to":"2","phase":"running",)"
            R"("step":0,"of_steps":3,"share":5,"reason":"","journal":[],"waits_for":"time"}]})"};
  }
  if (asks("\"history\"")) {
    return {absl::OkStatus(), "",
            "{\"changes\":[{" + change + R"(,"before":null,"after":{"name":"plain"}}]})"};
  }
  return {absl::OkStatus(), asks("canary") ? "in force, not kept" : "",
          R"({"generation":3,"routes":[{"name":"plain","rules":[{"to":[]}],"last":{)" + change +
              R"(},"missing":[]},{"name":"other","rules":[],"last":null,"missing":["x"]}],)"
              R"("left_off":2,"file_faults":["x"],"not_kept":""})"};
}

// What the registry refuses, or does not answer.
inline void RefusedRoutes(OpenApi* api, Answers* answers) {
  const std::pair<absl::Status, int> kFaults[] = {
      {absl::FailedPreconditionError("x"), 400}, {absl::InvalidArgumentError("x"), 400},
      {absl::NotFoundError("x"), 404},           {absl::ResourceExhaustedError("x"), 429},
      {absl::InternalError("x"), 500},           {absl::UnavailableError("x"), 503},
      {absl::DeadlineExceededError("x"), 504}};
  for (const Operation& operation : api->Operations()) {
    const std::string target = Fill(operation.path, "plain", "1");
    if (!ParseTarget(target).asks_routes()) continue;
    const bool posts = operation.method == "POST";
    for (const auto& [status, code] : kFaults) {
      if (code == 404 && operation.path.find("{model}") == std::string::npos) continue;
      answers->frontend().set_routes_answerer([&fault = status](const RoutesQuestion&) {
        return RoutesReply{fault, "", ""};
      });
      const std::string text = posts ? Post(target, "{}") : Bare(operation, target, "");
      answers->Expect(operation, text, code);
    }
  }
  answers->frontend().set_routes_answerer(RoutesReplyFor);
}

// What clients may ask to be set: what is so already, and nothing else.
inline void Settings(Answers* answers) {
  const std::string model_trace = "/v2/models/{model}/trace/setting";
  const auto ask = [&](const std::string& path, const std::string& body, int code) {
    answers->Expect({path, "POST"}, Post(Fill(path, "plain", ""), body), code);
  };
  for (const std::string& path : {std::string("/v2/trace/setting"), model_trace}) {
    for (const char* same : {R"({"trace_level":"OFF"})", R"({"trace_level":null})",
                             R"({"trace_rate":null,"trace_level":["OFF"]})"}) {
      ask(path, same, 200);
    }
    ask(path, R"({"trace_level":["TIMESTAMPS"]})", 501);
    ask(path, R"({"trace_file":"/etc/passwd"})", 501);
    for (const char* bad : {R"({"colour":"red"})", R"({"trace_level":7})", R"({"trace_level":[]})",
                            R"({"trace_level":[7]})", R"({"trace_level":{}})", "{"}) {
      ask(path, bad, 400);
    }
  }
  answers->Expect({model_trace, "POST"}, Post(Fill(model_trace, "nobody", ""), "{}"), 404);
  ask("/v2/logging", R"({"log_info":true,"log_verbose_level":0,"log_format":"ISO8601"})", 200);
  ask("/v2/logging", R"({"log_info":false})", 501);
  ask("/v2/logging", R"({"log_file":"/etc/passwd"})", 501);
  ask("/v2/logging", R"({"log_verbose_level":1})", 501);
  for (const char* bad : {R"({"log_info":"yes"})", R"({"log_verbose_level":-1})",
                          R"({"log_format":null})", R"({"colour":true})", "{"}) {
    ask("/v2/logging", bad, 400);
  }
}

}  // namespace millrace::http
