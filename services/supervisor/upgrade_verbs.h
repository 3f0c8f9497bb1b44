// The admin socket's words about upgrades.
//
// Purpose: `{"verb":"upgrade"}`, and what `status` says of builds. Who may call: the supervisor's
//   main thread. Nothing fails: what cannot be done is a reply that says so.
#pragma once

#include <optional>

#include "nlohmann/json.hpp"
#include "services/supervisor/upgrade_desk.h"

namespace millrace {

// Nothing: the line waits, ask again.
std::optional<nlohmann::json> AnswerUpgrade(UpgradeDesk* desk, const nlohmann::json& request,
                                            int64_t asked_ns);
// {"version", "path"}
nlohmann::json BuildReport(const UpgradeDesk& desk);
// {"state", "to", "last_failure"}
nlohmann::json UpgradeReport(const UpgradeDesk& desk);

}  // namespace millrace
