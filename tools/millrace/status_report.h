// The admin socket's status as a page to read.
//
// Purpose: `millrace status`. Who may call: any thread; nothing is kept.
// Invariants: what the answer does not hold is left out, not made up.
// What fails: INTERNAL where the answer has another form than the supervisor's.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"

namespace millrace {

absl::StatusOr<std::string> RenderStatus(const nlohmann::json& status);

}  // namespace millrace
