// The incidents as the admin socket tells them.
//
// Purpose: quarantine and breakers as JSON. Who may call: any thread; pure. Nothing fails.
#pragma once

#include "nlohmann/json.hpp"
#include "services/supervisor/incident_desk.h"
#include "services/supervisor/stage_storms.h"

namespace millrace {

// {"ok": true, "poisoned": N, "requests": [...]}, the newest first.
nlohmann::json QuarantineReport(const IncidentDesk& desk);
// [{"model", "version", "state", "deaths", "lane"}]
nlohmann::json BreakersReport(const IncidentDesk& desk);

// [{"stage", "state", "deaths"}], of those that are not closed.
nlohmann::json StageBreakersReport(const StageStorms& storms);

}  // namespace millrace
