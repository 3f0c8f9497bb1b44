#include "services/ingress/http/index_request.h"

#include <gtest/gtest.h>

#include "services/ingress/http/padded_for_test.h"
#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

TEST(IndexRequest, Bodies) {
  IndexRequestParser parser;
  const std::pair<const char*, bool> kGood[] = {
      {"", false},
      {"{}", false},
      {R"({"ready":true})", true},
      {R"({"ready":false})", false},
      {R"({"other":[{"ready":true}]})", false},
  };
  for (const auto& [body, want] : kGood) {
    bool only_ready = !want;
    EXPECT_TRUE(parser.Parse(Padded(body), &only_ready).ok()) << body;
    EXPECT_EQ(only_ready, want) << body;
  }
  const std::pair<const char*, const char*> kBad[] = {
      {R"({"ready":1})", "ready: must be true or false"},
      {R"({"ready":true,"ready":false})", "ready: is given twice"},
  };
  bool only_ready = false;
  for (const auto& [body, sentence] : kBad) {
    EXPECT_EQ(Message(parser.Parse(Padded(body), &only_ready)), sentence);
  }
  for (const char* body : {"[]", "{", "{}x", " ", R"({"ready":})", R"({"x":tru})"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(parser.Parse(Padded(body), &only_ready))) << body;
  }
}

}  // namespace
}  // namespace millrace::http
