// Traces as OTLP's messages, and these as its JSON.
//
// Purpose: what is sent to a collector, for both ways to send it. Who may call: any thread; pure.
// Invariants: 1. in JSON ids are hexadecimal, enums are numbers, names are lowerCamelCase and
// 64-bit
//   numbers are strings, as OTLP's specification has it. Nothing fails.
#pragma once

#include <string>
#include <vector>

#include "services/observer/traces/kept_trace.h"
#include "services/observer/traces/otlp.pb.h"

namespace millrace {

otlp::ExportRequest ToOtlp(const std::vector<SharedTrace>& traces);
std::string OtlpJson(const otlp::ExportRequest& request);

}  // namespace millrace
