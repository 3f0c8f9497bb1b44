// Asks the server's admin socket: one line of JSON out, one line back.
//
// Purpose: status, scale, stop and wait-ready. Who may call: any thread; nothing is kept.
// What fails: UNAVAILABLE (nobody answers there), DEADLINE_EXCEEDED, FAILED_PRECONDITION with the
//   server's own sentence where it refused, INTERNAL for an answer that is no JSON object.
#pragma once

#include <stdint.h>

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"

namespace millrace {

// Where a server without configuration has its socket: `millrace.sock` under $XDG_RUNTIME_DIR, else
// under /run/millrace (as the configuration's reference says).
std::string DefaultAdminSocket();

absl::StatusOr<nlohmann::json> AskAdmin(const std::string& socket_path,
                                        const nlohmann::json& question, int64_t timeout_ms);

}  // namespace millrace
