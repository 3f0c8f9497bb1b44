// Where log lines go beside standard error.
//
// Purpose: one place to which every line of a process is handed, so that who keeps lines
//   (services/runtime/log_ring.h) need not be known here. Who may call: SetLogSink once, before
//   other threads; HandToLogSink any thread, and a handler of signals.
// Invariants: 1. A sink takes no lock that it waits for, allocates nothing and may be interrupted:
//   it is called while a process dies. 2. It gets the same text as standard error, with or without
//   the newline.
// Nothing fails: without a sink nothing is done.
#pragma once

#include <string_view>

namespace millrace {

enum class LogLevel { kInfo, kWarning, kError };

using LogSink = void (*)(LogLevel level, std::string_view line);

void SetLogSink(LogSink sink);
void HandToLogSink(LogLevel level, std::string_view line);

}  // namespace millrace
