// A slow request of a test, and its trace.
//
// Purpose: what the console has to show. Who may call: the test's thread.
// What fails: a request that is not answered is a failure of the test.
#pragma once

#include <nlohmann/json.hpp>

#include "services/e2e/tree.h"

namespace millrace {

// As /api/traces tells of a request that was slow in its batch.
nlohmann::json SlowTrace();

// Asks for the planted fault "slow" of digits, until the server keeps such a request's trace.
void SendSlowRequest(Tree& tree);

}  // namespace millrace
