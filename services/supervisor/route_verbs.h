// What the admin socket is asked about routes and rollouts: handed on to the registry, which owns
// both.
//
// Who may call: the supervisor's main thread. Nothing fails: a refusal is a reply.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "nlohmann/json.hpp"
#include "services/supervisor/fleet.h"

namespace millrace {

// Nothing: not yet, ask again with the same time.
std::optional<nlohmann::json> AnswerRoutes(Fleet* fleet, const std::string& line, uid_t user,
                                           int64_t asked_ns);

// For status: which routes are in force, and which ingress has not taken them yet.
nlohmann::json RoutesReport(const Fleet& fleet);

}  // namespace millrace
