// What was counted of each model, and the settings, as JSON.
//
// Purpose: the bodies of /stats, /trace/setting and /logging. Who may call: any thread.
// Invariants: 1. every figure is there, also one that is always 0: some clients read without
//   looking whether it is. Nothing fails.
#pragma once

#include <string>

#include "absl/types/span.h"
#include "services/ingress/frontend.h"

namespace millrace::http {

// {"model_stats":[...]}
std::string StatisticsJson(absl::Span<const ModelStatistic> statistics, const Catalog* catalog);

// {"trace_level":["OFF"]}
std::string TraceJson();
// {"log_file":"","log_info":true,...}
std::string LogJson();

}  // namespace millrace::http
