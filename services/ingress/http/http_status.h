// The one table from absl's status codes to HTTP's.
//
// Purpose: every error of this server has one HTTP code, the design's. Who may call: any thread.
#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace millrace::http {

// 400 for bad input, 404, 429 for a quota, 500 for poison and our own faults, 503 for what was not
// executed, 504 for late. Never 200.
int HttpCode(const absl::Status& status);

// Whether the client is told to come back (Retry-After): 429 and 503.
bool MayRetry(int code);

// "Not Found" for 404.
std::string_view ReasonPhrase(int code);

}  // namespace millrace::http
