// Structured log lines: one line, one event, key=value; to standard error and to the sink
// (common/log_sink.h).
//
// Purpose: what happened, readable by people and machines, never tensor values, keys or paths of
//   clients. Who may call: any thread, off the path of requests (it formats and writes at once).
// Invariants: 1. one write(2) a line, at most 1024 bytes: lines of several processes never mix.
//   2. Values with blanks, quotes or control bytes are quoted and escaped.
//   3. Of one event at most 20 lines a second go out, after a burst of 100 (common/log_limit.h);
//   the
//      next one that does says suppressed=N.
// Nothing fails: a line that cannot be written is lost.
#pragma once

#include <stdint.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

#include "common/log_sink.h"

namespace millrace {

// One key and its value as text.
struct LogField {
  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
  LogField(std::string_view k, const char* v) : key(k), value(v) {}
  template <typename T, typename = std::enable_if_t<std::is_integral_v<T>>>
  LogField(std::string_view k, T v) : key(k), value(std::to_string(v)) {}
  std::string_view key;
  std::string value;
};

// Names this process in all its later lines ("execution0"); call once, before other threads.
void SetLogProcess(std::string_view name);

// ts=2026-11-23T10:00:00.123456Z level=info process=execution0 event=ready pid=12 ...
void Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields = {});

}  // namespace millrace
