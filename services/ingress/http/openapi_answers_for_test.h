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

}  // namespace millrace::http
