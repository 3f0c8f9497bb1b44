// What the server tells of its routes, for people.
//
// Who may call: any thread. What fails: INTERNAL for an answer that is not as it must be.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"

namespace millrace {

// An answer with "routes" or with "changes". `name`: that route alone; empty: all.
absl::StatusOr<std::string> RenderRoutes(const nlohmann::json& answer, const std::string& name);

}  // namespace millrace
