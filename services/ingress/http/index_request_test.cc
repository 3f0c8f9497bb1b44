#include "services/ingress/http/index_request.h"

#include <gtest/gtest.h>

#include "services/ingress/http/change_request.h"
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

TEST(ChangeRequest, Bodies) {
  ChangeRequestParser parser;
  ModelChange change;
  change.kind = ModelChange::Kind::kUnload;
  for (const char* body : {"", "{}", R"({"x":[1]})", R"({"parameters":{}})",
                           R"({"parameters":{"unload_dependents":false}})"}) {
    EXPECT_TRUE(parser.Parse(Padded(body), &change).ok()) << body;
    EXPECT_FALSE(change.unload_dependents) << body;
  }
  EXPECT_TRUE(parser.Parse(Padded(R"({"parameters":{"unload_dependents":true}})"), &change).ok());
  EXPECT_TRUE(change.unload_dependents);
  const std::pair<const char*, const char*> kBad[] = {
      {R"({"parameters":{"unload_dependents":1}})",
       "parameters.unload_dependents: must be true or false"},
      {R"({"parameters":{},"parameters":{}})", "parameters: is given twice"},
      {R"({"parameters":{"x":1}})", "parameters[\"x\"]: is not known to this server"},
  };
  for (const auto& [body, sentence] : kBad) {
    EXPECT_EQ(Message(parser.Parse(Padded(body), &change)), sentence);
  }
  change.kind = ModelChange::Kind::kLoad;
  for (const char* body :
       {R"({"parameters":{"config":"{}"}})", R"({"parameters":{"file:1/model.json":"AA=="}})"}) {
    EXPECT_TRUE(absl::IsUnimplemented(parser.Parse(Padded(body), &change))) << body;
  }
  for (const char* body :
       {"[]", "{", "{}x", R"({"parameters":[]})", R"({"parameters":{"unload_dependents":true}})"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(parser.Parse(Padded(body), &change))) << body;
  }
}

}  // namespace
}  // namespace millrace::http
