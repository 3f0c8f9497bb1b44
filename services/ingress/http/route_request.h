// GET and POST of /v2/routes and /v2/rollouts.
//
// Purpose: path and body to the command that the admin socket takes (services/registry/routes).
// Who may call: one thread.
// Invariants: 1. The body is one JSON object, nested no deeper than kMaxJsonDepth, and of at most
//   kMostBytes. 2. It names no verb and no route: the path does.
// What fails: INVALID_ARGUMENT with the field's name. What a command means its reader checks.
#pragma once

#include <stddef.h>

#include <string>

#include "absl/status/status.h"
#include "services/ingress/http/json_reader.h"
#include "services/ingress/http/route.h"

namespace millrace::http {

class RouteRequestParser {
 public:
  static constexpr size_t kMostBytes = 64 << 10;  // a message to the supervisor holds it

  // The string needs kBodyPadding bytes of capacity past its size (body.h), unless it is empty.
  absl::Status Parse(const Route& route, bool posted, const std::string& body,
                     std::string* command_json);

 private:
  // `members`: the text between the object's braces.
  absl::Status ReadBody(const std::string& body, std::string_view* members);

  JsonReader reader_;
};

}  // namespace millrace::http
