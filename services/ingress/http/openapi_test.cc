// The server is what openapi.json says it is: every route, every method, every answer.
#include "services/ingress/http/openapi.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "services/ingress/http/http_client_for_test.h"
#include "services/ingress/http/openapi_for_test.h"
#include "services/ingress/http/padded_for_test.h"
#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

using nlohmann::json;

json Document() { return json::parse(OpenApiText()); }

std::string FileText() {
  std::ifstream file("services/ingress/http/openapi.json", std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(OpenApiDocument, IsInOrder) {
  const OpenApi api(Document());
  EXPECT_EQ(api.Faults(), std::vector<std::string>());
  EXPECT_TRUE(api.document()["openapi"].get<std::string>().starts_with("3.1."));
}

TEST(OpenApiDocument, ItsFaultsAreSeen) {
  const auto faults = [](auto plant) {
    json document = Document();
    plant(document);
    return OpenApi(std::move(document)).Faults().size();
  };
  const std::string infer = "/v2/models/{model}/infer";
  EXPECT_EQ(faults([](json& d) { d["components"]["schemas"].erase("Alive"); }), 1u);
  EXPECT_EQ(faults([](json& d) { d["components"]["schemas"]["Alive"]["uniqueItems"] = true; }), 1u);
  EXPECT_EQ(faults([&](json& d) { d["paths"][infer]["parameters"].clear(); }), 1u);
  EXPECT_EQ(faults([&](json& d) { d["paths"][infer]["post"]["operationId"] = "alive"; }), 1u);
  EXPECT_EQ(faults([](json& d) { d["components"]["schemas"]["InferRequest"]["required"] = {"x"}; }),
            2u);
}

TEST(OpenApiDocument, HasTheRoutersPathsAndNoOthers) {
  const OpenApi api(Document());
  EXPECT_EQ(api.Differences(RouteTable()), std::vector<std::string>());
  for (const RoutePattern& route : RouteTable()) {
    const Route parsed = ParseTarget(Fill(std::string(route.path), "m", "7"));
    EXPECT_EQ(parsed.endpoint, route.endpoint) << route.path;
  }
}

TEST(OpenApiDocument, APathThatOneOfBothLacksIsSeen) {
  for (const RoutePattern& route : RouteTable()) {
    json document = Document();
    document["paths"].erase(std::string(route.path));
    EXPECT_EQ(OpenApi(document).Differences(RouteTable()),
              std::vector<std::string>{Concat("the document lacks ", route.path)});
  }
  const OpenApi api(Document());
  const size_t routes = RouteTable().size();
  EXPECT_EQ(api.Differences(RouteTable().subspan(1, routes - 1)),
            std::vector<std::string>{Concat("the router lacks ", RouteTable()[0].path)});
  json document = Document();
  document["paths"]["/"].erase("head");
  EXPECT_EQ(OpenApi(document).Differences(RouteTable()),
            std::vector<std::string>{"/ takes GET, HEAD"});
}

TEST(OpenApiDocument, IsServed) {
  EXPECT_EQ(OpenApiText(), FileText());
  TestServer test;
  const int fd = test.Connect();
  const Response got = test.Exchange(fd, "GET /openapi.json HTTP/1.1\r\n\r\n");
  EXPECT_EQ(got.code, 200);
  EXPECT_EQ(got.body, OpenApiText());
  const std::string tag(OpenApiTag().substr(2));
  EXPECT_EQ(OpenApiTag(), "W/" + tag);
  EXPECT_EQ(FieldOf(got, "etag"), "w/" + tag);  // the head is lower-cased
  EXPECT_EQ(FieldOf(got, "content-type"), "application/json");
  for (const std::string& held : {tag, "W/" + tag, "\"x\", " + tag, std::string("*")}) {
    test.Send(fd, Concat("GET /openapi.json HTTP/1.1\r\nIf-None-Match: ", held, "\r\n\r\n"));
    const Response unchanged = test.Receive(fd, true);
    EXPECT_EQ(unchanged.code, 304) << held;
    EXPECT_EQ(FieldOf(unchanged, "etag"), "w/" + tag);
    EXPECT_EQ(FieldOf(unchanged, "content-length"), "");
    EXPECT_EQ(test.unread(fd), "");
  }
  for (const char* other : {"\"x\"", "", ",", "x"}) {
    const Response again = test.Exchange(
        fd, Concat("GET /openapi.json HTTP/1.1\r\nIf-None-Match: ", other, "\r\n\r\n"));
    EXPECT_EQ(again.code, 200) << other;
  }
  // The field means this document and no other path.
  EXPECT_EQ(test.Exchange(fd, "GET /v2 HTTP/1.1\r\nIf-None-Match: *\r\n\r\n").code, 200);
  close(fd);
}

TEST(OpenApiDocument, AllowNamesItsMethods) {
  const OpenApi api(Document());
  TestServer test;
  for (const auto& [path, item] : api.document()["paths"].items()) {
    for (const char* method : {"DELETE", "PUT", "PATCH", "POST", "GET", "HEAD"}) {
      if (item.contains(method == std::string_view("POST") ? "post" : "get")) continue;
      const int fd = test.Connect();
      test.Send(fd, Concat(method, " ", Fill(path, "plain", "1"), " HTTP/1.1\r\n\r\n"));
      const bool head = method == std::string_view("HEAD");
      const Response response = test.Receive(fd, head);
      EXPECT_EQ(response.code, 405) << method << path;
      std::string allow = api.Methods(path);
      std::transform(allow.begin(), allow.end(), allow.begin(), tolower);
      EXPECT_EQ(FieldOf(response, "allow"), allow) << path;
      if (!head) {
        EXPECT_EQ(api.CheckComponent("MethodNotAllowed", response), "");
      }
      close(fd);
    }
  }
}

}  // namespace
}  // namespace millrace::http
