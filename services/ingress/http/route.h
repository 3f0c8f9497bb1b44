// What a request line asks for.
//
// Purpose: target to Route, the whole table of paths in one place. Who may call: any thread.
// Invariants: 1. segments are split before they are percent-decoded, so that an encoded slash stays
//   part of a name. 2. A query string and one trailing slash are ignored.
// Fails never: what is not in the table is kUnknown.
#pragma once

#include <string>
#include <string_view>

namespace millrace::http {

enum class Endpoint {
  kUnknown,
  kAlive,        // GET /
  kServer,       // GET /v2
  kLive,         // GET /v2/health/live
  kReady,        // GET /v2/health/ready
  kModels,       // GET /v2/models and /v1/models
  kModel,        // GET /v2/models/M[/versions/V]
  kModelReady,   // GET /v2/models/M[/versions/V]/ready
  kModelConfig,  // GET /v2/models/M[/versions/V]/config
  kInfer,        // POST /v2/models/M[/versions/V]/infer
  kV1Model,      // GET /v1/models/M
  kPredict,      // POST /v1/models/M:predict
};

struct Route {
  Endpoint endpoint = Endpoint::kUnknown;
  std::string model;
  std::string version;  // empty: the latest

  bool post() const { return endpoint == Endpoint::kInfer || endpoint == Endpoint::kPredict; }
};

Route ParseTarget(std::string_view target);

}  // namespace millrace::http
