// The newest lines of all processes, and what is asked of them.
//
// Purpose: behind GET /api/logs. Who may call: one thread at a time (LogService locks).
// Ownership: holds its lines. Invariants:
//   1. At most kMostLines and kMostBytes; the oldest go first.
//   2. Numbers (seq) grow by one a line, also from one observer to the next: they begin at the
//      microsecond at which this one began.
// What fails: Parse, where a query is not understood.
#pragma once

#include <stdint.h>

#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "services/observer/logs/log_line.h"

namespace millrace {

// level=info|warning|error (that and above), process=NAME ("execution": each of that stage), event=
// NAME, after=SEQ, limit=N.
struct LogQuery {
  static constexpr size_t kMostLimit = 1000;
  LogLevel level = LogLevel::kInfo;
  std::string process, event;     // empty: any
  std::optional<uint64_t> after;  // the oldest behind it; else: the newest that there are
  size_t limit = 200;

  static std::optional<LogQuery> Parse(std::string_view query);
  bool Wants(const LogLine& line) const;
};

class LogStore {
 public:
  static constexpr size_t kMostLines = 2000;
  static constexpr size_t kMostBytes = 1 << 20;

  explicit LogStore(int64_t now_us) : next_(static_cast<uint64_t>(now_us)) {}

  void Add(LogLine line);  // gives it its seq
  // {"next": what to ask for after, "lines": [...]}, the oldest line first.
  std::string Json(const LogQuery& query) const;
  size_t bytes() const { return bytes_; }
  const std::deque<LogLine>& lines() const { return lines_; }

 private:
  uint64_t next_;
  size_t bytes_ = 0;
  std::deque<LogLine> lines_;
};

}  // namespace millrace
