// A request's trace, in its header and in its answer's.
#include <gtest/gtest.h>
#include <unistd.h>

#include "services/ingress/http/http_client_for_test.h"
#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

constexpr std::string_view kInfer = "/v2/models/plain/infer";
constexpr std::string_view kParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
constexpr std::string_view kOurs = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000abc-01";

class HttpTraceTest : public ::testing::Test {
 protected:
  HttpTraceTest() { test_.frontend().set_traces(true); }
  ~HttpTraceTest() override { close(fd_); }
  Response Ask(std::string_view fields) {
    return test_.Exchange(fd_, Post(kInfer, kPlainBody, fields));
  }
  const FakeRequest& Seen() { return test_.frontend().seen().back(); }

  TestServer test_;
  const int fd_ = test_.Connect();
};

TEST_F(HttpTraceTest, AClientsTraceIsHandedOnAndOurSpanTold) {
  const std::string state(512, 's');
  const Response response =
      Ask(Concat("TraceParent: ", kParent, "\r\ntracestate: ", state, "\r\n"));
  EXPECT_EQ(response.code, 200);
  EXPECT_EQ(HexOf(Seen().trace.parent.trace), kParent.substr(3, 32));
  EXPECT_TRUE(Seen().trace.parent.sampled);
  EXPECT_EQ(Seen().trace_state, state);
  EXPECT_EQ(Seen().trace.method, TraceMethod::kHttpInfer);
  EXPECT_GT(Seen().trace.entered_ns, 0);
  EXPECT_TRUE(response.Has(Concat("traceparent: ", kOurs, "\r\n"))) << response.head;
  EXPECT_TRUE(response.Has(Concat("tracestate: ", state, "\r\n"))) << response.head;
  // The next answer of the connection is another request's.
  EXPECT_FALSE(Ask("").Has("traceparent"));
  EXPECT_FALSE(Seen().trace.parent.valid());
}

TEST_F(HttpTraceTest, AnErrorNamesItsTraceToo) {
  test_.frontend().set_answerer([](const FakeRequest&) {
    return FakeAnswer{absl::UnavailableError("busy"), "", "", {}};
  });
  const Response response = Ask(Concat("traceparent: ", kParent, "\r\n"));
  EXPECT_EQ(response.code, 503);
  EXPECT_TRUE(response.Has(Concat("traceparent: ", kOurs, "\r\n"))) << response.head;
}

TEST_F(HttpTraceTest, WhatIsNotValidIsNoTrace) {
  for (const std::string_view fields :
       {"traceparent: 00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01\r\n",
        "traceparent: 00-00000000000000000000000000000000-00f067aa0ba902b7-01\r\n",
        "traceparent: \r\n", "tracestate: a=1\r\n"}) {
    const Response response = Ask(fields);
    EXPECT_EQ(response.code, 200);
    EXPECT_FALSE(Seen().trace.parent.valid()) << fields;
    EXPECT_EQ(Seen().trace_state, "") << fields;
    EXPECT_FALSE(response.Has("trace")) << response.head;
  }
  // One that is too long is left out, the trace is not.
  Ask(Concat("traceparent: ", kParent, "\r\ntracestate: ", std::string(513, 's'), "\r\n"));
  EXPECT_TRUE(Seen().trace.parent.valid());
  EXPECT_EQ(Seen().trace_state, "");
}

TEST_F(HttpTraceTest, WhereNothingIsTracedTheHeaderIsNotRead) {
  test_.frontend().set_traces(false);
  EXPECT_FALSE(Ask(Concat("traceparent: ", kParent, "\r\n")).Has("traceparent"));
  EXPECT_FALSE(Seen().trace.parent.valid());
}

}  // namespace
}  // namespace millrace::http
