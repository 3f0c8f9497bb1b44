// What the golden requests of ingress have shown, read from its lanes' pages.
//
// Purpose: `ready`, and for each model the age of its last right golden answer and its last
// failure. Who may call: the supervisor's main thread. Ownership: nothing is kept. Invariants: 1. a
// page that its lane does not renew runs out: what is said of a lane that stands
//   still is that it is not ready. 2. Each word of a page is read once for a reply.
// Nothing fails.
#pragma once

#include <functional>
#include <vector>

#include "ipc/catalog.pb.h"
#include "ipc/golden_words.h"
#include "nlohmann/json.hpp"
#include "services/supervisor/fleet.h"

namespace millrace {

// The words of all lanes of ingress that are in use and tell; the pages outlive the result's use.
std::vector<const GoldenWords*> GoldenWordsOf(
    const Fleet& fleet, const std::function<const Page*(uint32_t incarnation)>& page_of);

// Whether every model is answered right over every lane. True without lanes that tell.
bool GoldenReady(const std::vector<const GoldenWords*>& lanes, int64_t now_ns);

// Of one model, over all lanes: `ready`, `age_ms` (of the lane that waits longest; null: one has
// none yet), `last_failure` and `last_failure_age_ms` (null: there was none).
nlohmann::json GoldenReport(const std::vector<const GoldenWords*>& lanes, const Model& model,
                            int64_t now_ns);

}  // namespace millrace
