// What the browser's own rules need to hold: nothing inline, nothing from elsewhere, no markup made
// of what a server says. services/e2e:console_test drives it in a browser.
#include "services/observer/console_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>
#include <set>
#include <string>

namespace millrace {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::set<std::string> Matches(std::string_view text, const std::string& pattern) {
  std::set<std::string> found;
  const std::string copy(text);
  const std::regex regex(pattern);
  for (auto at = std::sregex_iterator(copy.begin(), copy.end(), regex);
       at != std::sregex_iterator(); ++at) {
    found.insert((*at)[1]);
  }
  return found;
}

TEST(ConsolePage, WhatItNamesIsServed) {
  std::set<std::string> served, named;
  for (const ConsoleFile& file : ConsoleFiles()) {
    served.insert(std::string(file.path));
    EXPECT_FALSE(file.bytes.empty()) << file.path;
    for (const std::string& one : Matches(file.bytes, "(?:href|src)=\"(/[^\"]*)\"")) {
      named.insert(one);
    }
    for (const std::string& one : Matches(file.bytes, "from \"\\./([a-z]+\\.js)\"")) {
      named.insert("/console/" + one);
    }
  }
  named.erase("/metrics");
  EXPECT_GT(named.size(), 8u);
  for (const std::string& one : named) EXPECT_EQ(served.count(one), 1u) << one;
  // And nothing that is not used.
  named.insert("/");
  EXPECT_EQ(named, served);
}

TEST(ConsolePage, NothingIsInlineAndNothingComesFromElsewhere) {
  const std::set<std::string> namespaces = {"http://www.w3.org/2000/svg"};
  for (const ConsoleFile& file : ConsoleFiles()) {
    EXPECT_THAT(std::string(file.bytes), Not(HasSubstr(" style=\""))) << file.path;
    for (const std::string& url : Matches(file.bytes, "((?:https?:)?//[a-z0-9.]+/[^\"' )]*)")) {
      EXPECT_EQ(namespaces.count(url), 1u) << file.path << ": " << url;
    }
    if (file.content_type.substr(0, 9) != "text/html") continue;
    EXPECT_TRUE(Matches(file.bytes, "[ \n](on[a-z]+)=").empty()) << file.path;
    EXPECT_TRUE(Matches(file.bytes, "<(script)[^>]*>[^<]").empty()) << file.path;
  }
}

// Names of models are a client's or a file's: they become text, whatever they are.
TEST(ConsolePage, NothingParsesMarkup) {
  const std::string sinks =
      "(innerHTML|outerHTML|insertAdjacentHTML|document\\.write|\\beval\\(|new Function|srcdoc|"
      "setHTML|DOMParser|createContextualFragment|setTimeout\\(\"|javascript:)";
  for (const ConsoleFile& file : ConsoleFiles()) {
    EXPECT_TRUE(Matches(file.bytes, sinks).empty()) << file.path;
  }
}

TEST(ConsolePage, ThePolicyAllowsThisServerAlone) {
  const std::string headers(ConsoleHeaders());
  EXPECT_THAT(headers, HasSubstr("default-src 'none'"));
  EXPECT_THAT(headers, HasSubstr("frame-ancestors 'none'"));
  EXPECT_THAT(headers, Not(HasSubstr("unsafe")));
  EXPECT_THAT(headers, Not(HasSubstr("*")));
  EXPECT_EQ(headers.substr(headers.size() - 2), "\r\n");
}

// A page of elsewhere can have its own name point here; the browser then tells that name.
TEST(ConsolePage, OnlyThisMachinesAddressesAreAnswered) {
  const auto handler = Guarded([](const HttpRequest&) {
    return HttpReply{200, "text/plain", "seen"};
  });
  const auto status = [&](const std::string& host) {
    return handler(HttpRequest{"/", "", host}).status;
  };
  for (const char* host :
       {"", "localhost", "localhost:8002", "127.0.0.1:8002", "[::1]:8002", "[::1]", "127.0.0.1"}) {
    EXPECT_EQ(status(host), 200) << host;
  }
  for (const char* host : {"evil.example:8002", "localhost.evil.example", "[evil.example]:8002",
                           "127.0.0.1.evil.example", "[", "[::1", ":8002"}) {
    EXPECT_EQ(status(host), 421) << host;
  }
}

}  // namespace
}  // namespace millrace
