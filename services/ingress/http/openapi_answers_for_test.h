// A server, and answers of it held to the document.
//
// Purpose: one exchange, checked by code and by schema. Who may call: tests. Ownership: borrows the
//   document. What fails: the test that asks.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "services/ingress/http/openapi_for_test.h"

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
