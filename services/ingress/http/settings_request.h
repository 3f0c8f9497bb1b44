// Bodies of POST /v2/logging and of the trace settings: what a client asks to be set.
//
// Purpose: body to the checks of verbs.h, so that what is set so already is answered like a GET,
// and
//   a change is refused with the sentence that gRPC has for it. Who may call: one thread.
// Invariants: 1. nothing is set. 2. An empty body asks for nothing.
// What fails: INVALID_ARGUMENT with the setting's name, UNIMPLEMENTED for a change.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "services/ingress/http/json_reader.h"

namespace millrace::http {

class SettingsRequestParser {
 public:
  // The string needs kBodyPadding bytes of capacity past its size (body.h).
  absl::Status CheckLog(const std::string& body);
  absl::Status CheckTrace(const std::string& body);

 private:
  // `check(key, value)` for each member.
  template <typename Check>
  absl::Status ForEach(const std::string& body, Check check);
  absl::Status CheckLogMember(std::string_view key, JsonReader::Value value);
  absl::Status CheckTraceMember(std::string_view key, JsonReader::Value value);

  JsonReader reader_;
};

}  // namespace millrace::http
