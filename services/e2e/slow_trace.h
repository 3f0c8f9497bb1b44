// A slow request, as /api/traces tells of it: one whose numbers a test knows.
//
// Purpose: what the console has to draw. Who may call: any thread. Nothing fails.
#pragma once

#include <nlohmann/json.hpp>

namespace millrace {

// 240 ms, of which its batch took 200, from the 30th on.
nlohmann::json SlowTrace();

}  // namespace millrace
