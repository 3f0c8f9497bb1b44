// Bodies of POST /v2/repository/models/{model}/load and /unload.
//
// Purpose: body to a change of models. Who may call: one thread.
// Invariants: 1. an empty body asks for nothing more; members that are not known are read and
//   ignored, parameters that are not known are refused. 2. No parameter can bring a model or a
//   path.
// What fails: INVALID_ARGUMENT with the field's name; UNIMPLEMENTED for a model in the request.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "services/ingress/frontend.h"
#include "services/ingress/http/json_reader.h"

namespace millrace::http {

class ChangeRequestParser {
 public:
  // The string needs kBodyPadding bytes of capacity past its size (body.h). `change->kind` is set.
  absl::Status Parse(const std::string& body, ModelChange* change);

 private:
  absl::Status ReadParameters(JsonReader::Value value, ModelChange* change);

  JsonReader reader_;
};

}  // namespace millrace::http
