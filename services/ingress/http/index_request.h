// Bodies of POST /v2/repository/index.
//
// Purpose: body to what is asked for. Who may call: one thread.
// Invariants: 1. an empty body asks for everything; members that are not known are read and
//   ignored.
// What fails: INVALID_ARGUMENT with the field's name.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "services/ingress/http/json_reader.h"

namespace millrace::http {

class IndexRequestParser {
 public:
  // The string needs kBodyPadding bytes of capacity past its size (body.h).
  absl::Status Parse(const std::string& body, bool* only_ready);

 private:
  JsonReader reader_;
};

}  // namespace millrace::http
