// One line that a process logged, as the observer keeps it, and how it is read from a ring.
//
// Purpose: what lies in a log ring (services/runtime/log_ring.h) is a peer's and may be any bytes;
//   from here on it is printable text in known fields. Who may call: any thread. Ownership: values.
// Invariants: 1. Texts hold bytes from ' ' to '~' alone, whatever the ring held. 2. `process`,
// `pid`
//   and `incarnation` are the supervisor's word, never the line's.
// Nothing fails: what cannot be read as an event has an empty one, and its whole text as fields.
#pragma once

#include <stdint.h>

#include <optional>
#include <string>
#include <string_view>

#include "common/log_sink.h"
#include "services/runtime/log_ring.h"

namespace millrace {

struct LogLine {
  uint64_t seq = 0;     // of the observer's; never used again, not by its successor either
  uint64_t number = 0;  // of the line in its process
  int64_t unix_ns = 0;
  std::string process;
  uint32_t pid = 0;
  uint32_t incarnation = 0;
  LogLevel level = LogLevel::kInfo;
  std::string event;
  std::string fields;       // "key=value key=value", without those above
  uint64_t suppressed = 0;  // lines of this event that were not logged before it
};

std::string_view LevelName(LogLevel level);
std::optional<LogLevel> LevelOf(std::string_view name);

// Level, time, event and fields; the rest is the caller's. A time that is not before `now_ns` is
// taken as that.
LogLine ReadLogRecord(const LogRecord& record, int64_t now_ns);

}  // namespace millrace
