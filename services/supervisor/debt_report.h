// What is owed on the versions that are served, as `millrace debt` is answered.
//
// Purpose: from the catalog and the fleet to JSON (ipc/model_debt.h is the judgement). Who may
// call:
//   the supervisor's main thread. Nothing is kept.
// What fails: a request whose limits are no numbers, with a reply that names the field.
#pragma once

#include <nlohmann/json.hpp>

#include "ipc/model_debt.h"
#include "services/supervisor/fleet.h"

namespace millrace {

DebtLimits DebtLimitsOf(const Config& config);

// {"verb":"debt","max_age_days":N,"max_untagged_percent":N}: both may be left out.
nlohmann::json AnswerDebt(const Fleet& fleet, DebtLimits limits, const nlohmann::json& request,
                          int64_t wall_s);

}  // namespace millrace
