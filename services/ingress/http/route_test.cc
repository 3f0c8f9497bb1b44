#include "services/ingress/http/route.h"

#include <gtest/gtest.h>

namespace millrace::http {
namespace {

TEST(Route, Table) {
  const struct {
    const char* target;
    Endpoint endpoint;
    const char* model;
    const char* version;
  } kCases[] = {
      {"/", Endpoint::kAlive, "", ""},
      {"//", Endpoint::kAlive, "", ""},
      {"/?x", Endpoint::kAlive, "", ""},
      {"/openapi.json", Endpoint::kOpenApi, "", ""},
      {"/v2", Endpoint::kServer, "", ""},
      {"/v2/", Endpoint::kServer, "", ""},
      {"/v2?x=/y", Endpoint::kServer, "", ""},
      {"http://host:80/v2", Endpoint::kServer, "", ""},
      {"http://host", Endpoint::kAlive, "", ""},
      {"/v2/health/live", Endpoint::kLive, "", ""},
      {"/v2/health/ready", Endpoint::kReady, "", ""},
      {"/v2/models", Endpoint::kModels, "", ""},
      {"/v1/models", Endpoint::kModels, "", ""},
      {"/v2/models/m", Endpoint::kModel, "m", ""},
      {"/v2/models/m/versions/2", Endpoint::kModel, "m", "2"},
      {"/v2/models/m/ready", Endpoint::kModelReady, "m", ""},
      {"/v2/models/m/versions/2/ready", Endpoint::kModelReady, "m", "2"},
      {"/v2/models/m/config", Endpoint::kModelConfig, "m", ""},
      {"/v2/models/m/infer", Endpoint::kInfer, "m", ""},
      {"/v2/models/m/versions/12/infer", Endpoint::kInfer, "m", "12"},
      {"/v2/models/a%2Fb%20c/infer", Endpoint::kInfer, "a/b c", ""},
      {"/v2/models/versions/infer", Endpoint::kInfer, "versions", ""},
      {"/v2/models/m/versions/ready", Endpoint::kModel, "m", "ready"},
      {"/v2/models/a:b/infer", Endpoint::kInfer, "a:b", ""},
      {"/%762/%6dodels/m", Endpoint::kModel, "m", ""},
      {"/v2/models/m/versions/2/config", Endpoint::kModelConfig, "m", "2"},
      {"/v2/repository/index", Endpoint::kIndex, "", ""},
      {"/v2/repository/models/m/load", Endpoint::kLoad, "m", ""},
      {"/v2/repository/models/m/unload", Endpoint::kUnload, "m", ""},
      {"/v2/models/stats", Endpoint::kStatistics, "", ""},
      {"/v2/models/m/stats", Endpoint::kModelStatistics, "m", ""},
      {"/v2/models/m/versions/3/stats", Endpoint::kModelStatistics, "m", "3"},
      {"/v2/trace/setting", Endpoint::kTraceSetting, "", ""},
      {"/v2/models/m/trace/setting", Endpoint::kModelTraceSetting, "m", ""},
      {"/v2/logging", Endpoint::kLogging, "", ""},
      {"/v1/models/m", Endpoint::kV1Model, "m", ""},
      {"/v1/models/m:predict", Endpoint::kPredict, "m", ""},
      {"/v1/models/m%3Apredict", Endpoint::kPredict, "m", ""},
  };
  for (const auto& want : kCases) {
    const Route route = ParseTarget(want.target);
    EXPECT_EQ(route.endpoint, want.endpoint) << want.target;
    EXPECT_EQ(route.model, want.model) << want.target;
    EXPECT_EQ(route.version, want.version) << want.target;
    const bool infers = want.endpoint == Endpoint::kInfer || want.endpoint == Endpoint::kPredict;
    EXPECT_EQ(route.infers(), infers) << want.target;
    const bool changes = want.endpoint == Endpoint::kLoad || want.endpoint == Endpoint::kUnload;
    EXPECT_EQ(route.changes(), changes) << want.target;
    EXPECT_EQ(route.post(), infers || changes || want.endpoint == Endpoint::kIndex) << want.target;
  }
}

// By the paths' words, not by the endpoints: each route has the scope that its path says.
TEST(Route, EveryRouteHasItsScope) {
  for (const RoutePattern& route : RouteTable()) {
    const std::string path(route.path);
    const auto has = [&](const char* word) { return path.find(word) != std::string::npos; };
    Scope want = kScopeInfer;
    if (path == "/" || path == "/openapi.json" || has("/health/")) want = kScopeNone;
    if (has("/stats")) want = kScopeMetrics;
    if (has("/repository/") || has("/routes") || has("/rollouts") || has("/trace/") ||
        has("/logging"))
      want = kScopeAdmin;
    EXPECT_EQ(ScopeOf(route.endpoint), want) << path;
  }
}

TEST(Route, Unknown) {
  for (const char* target : {"",
                             "*",
                             "v2",

                             "/v3",
                             "/v2/health",
                             "/v2/health/dead",
                             "/v2/health/live/x",
                             "/v2//models",
                             "/v2/models//infer",
                             "/v2/models/m/versions",
                             "/v2/models/m/versions//infer",
                             "/v2/models/m/infer/x",
                             "/v2/models/m/explain",
                             "/v2/models/m%2/infer",
                             "/v2/models/m%zz/infer",
                             "/v1",
                             "/v1/models/m/infer",
                             "/v1/models/:predict",
                             "/v1/models/m:explain",
                             "/v1/models/m:",
                             "/v2/repository",
                             "/v2/models/m/versions/1/infer/x",
                             "/v2/models/m/versions/1/explain",
                             "https://host/v2",
                             "/v1/health/live"}) {
    EXPECT_EQ(ParseTarget(target).endpoint, Endpoint::kUnknown) << target;
  }
}

}  // namespace
}  // namespace millrace::http
