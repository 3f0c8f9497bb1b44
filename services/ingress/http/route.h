// What a request line asks for.
//
// Purpose: target to Route. The table of paths stands in one place, RouteTable(), and is both what
//   requests are held against and what openapi.json is held against.
// Who may call: any thread.
// Invariants: 1. segments are split before they are percent-decoded, so that an encoded slash stays
//   part of a name. 2. A query string and one trailing slash are ignored. 3. Each path of the table
//   is the target of its own route and of no other.
// Fails never: what is not in the table is kUnknown.
#pragma once

#include <string>
#include <string_view>

#include "absl/types/span.h"
#include "services/ingress/access/scope.h"

namespace millrace::http {

enum class Endpoint {
  kUnknown,
  kAlive,
  kOpenApi,
  kServer,
  kLive,
  kReady,
  kModels,
  kModel,
  kModelReady,
  kModelConfig,
  kInfer,
  kV1Model,
  kPredict,
  kIndex,
  kStatistics,
  kModelStatistics,
  kTraceSetting,
  kModelTraceSetting,
  kLogging,
  kLoad,
  kUnload,
  kRoutes,
  kRoute,
  kRouteHistory,
  kRollouts,
  kRollout,
  kRegionStatus,
  kRegionRegister,
  kRegionUnregister,
  kCudaStatus,
  kCudaRegister,
  kCudaUnregister,
};

// "{model}", "{version}" and "{region}" stand for one segment each, or for the part of it before a
// verb.
struct RoutePattern {
  std::string_view path;
  Endpoint endpoint;
};

absl::Span<const RoutePattern> RouteTable();

// Whether it takes POST and nothing else; all others take GET and HEAD, and settings, a route
// and a rollout POST as well.
bool TakesPost(Endpoint endpoint);
bool TakesPostToo(Endpoint endpoint);

// Who may use it: the HTTP half of the one table (the other: grpc/method_scopes.h).
Scope ScopeOf(Endpoint endpoint);

struct Route {
  Endpoint endpoint = Endpoint::kUnknown;
  std::string model;    // or the name of a route
  std::string version;  // empty: the latest
  std::string region;   // of shared memory; empty: all

  bool post() const { return TakesPost(endpoint); }
  bool may_post() const { return TakesPost(endpoint) || TakesPostToo(endpoint); }
  bool of_regions() const { return endpoint >= Endpoint::kRegionStatus; }
  // Administration: what it does is not for everybody who may ask a model.
  bool changes() const { return endpoint == Endpoint::kLoad || endpoint == Endpoint::kUnload; }
  bool asks_routes() const {
    return endpoint >= Endpoint::kRoutes && endpoint <= Endpoint::kRollout;
  }
  bool infers() const { return endpoint == Endpoint::kInfer || endpoint == Endpoint::kPredict; }
  // Keeps the capacity of the names.
  void Clear() { endpoint = Endpoint::kUnknown, model.clear(), version.clear(), region.clear(); }
};

// Overwrites `route`.
void ParseTarget(std::string_view target, Route* route);
inline Route ParseTarget(std::string_view target) {
  Route route;
  ParseTarget(target, &route);
  return route;
}

}  // namespace millrace::http
