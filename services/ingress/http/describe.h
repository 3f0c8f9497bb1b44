// Answers to everything that asks about the server and its models, and runs nothing.
//
// Purpose: Route to code and body, for the endpoints that are not inference.
// Who may call: the lane's thread. Fails never: an error is a code with {"error": ...}.
// Invariants: 1. what is not ready says so with 503 and still carries the body that KServe's client
//   reads ({"ready":false}); a draining server is alive and not ready.
#pragma once

#include <string>
#include <string_view>

#include "services/ingress/frontend.h"
#include "services/ingress/http/route.h"

namespace millrace::http {

struct Description {
  int code = 200;
  std::string json;
};

// `only_ready`: of the repository's index. `shared_memory`: whether clients may register theirs.
Description Describe(const Route& route, const Frontend& frontend, std::string_view server_version,
                     bool draining, bool only_ready = false, bool shared_memory = false);

}  // namespace millrace::http
