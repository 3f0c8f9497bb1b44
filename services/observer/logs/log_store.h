// The newest lines of all processes, and what is asked of them.
//
// Purpose: behind GET /api/logs. Who may call: one thread at a time (LogService locks).
// Ownership: holds its lines, in memory that is made and touched once: the observer's does not grow
// while they come. Invariants:
//   1. At most kMostLines, and kMostBytes of their texts; the oldest go first.
//   2. Numbers (seq) grow by one a line, also from one observer to the next: they begin at the
//      microsecond at which this one began.
// What fails: Parse, where a query is not understood.
#pragma once

#include <stdint.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

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

  explicit LogStore(int64_t now_us);

  void Add(const LogLine& line);  // gives it its seq
  // {"next": what to ask for after, "lines": [...]}, the oldest line first.
  std::string Json(const LogQuery& query) const;
  size_t size() const { return count_; }
  LogLine line(size_t i) const;  // from the oldest

 private:
  // A line without its texts, which stand behind one another at `offset`.
  struct Entry {
    uint64_t seq, number;
    int64_t unix_ns;
    uint64_t suppressed;
    uint32_t pid, incarnation;
    LogLevel level;
    uint32_t offset, process_bytes, event_bytes, fields_bytes;
    uint32_t bytes() const { return process_bytes + event_bytes + fields_bytes; }
  };
  const Entry& at(size_t i) const { return entries_[(first_ + i) % kMostLines]; }
  // Where texts of so many bytes can stand beside those that are there.
  std::optional<uint32_t> RoomFor(size_t bytes) const;

  uint64_t next_;
  size_t first_ = 0, count_ = 0;  // in entries_, a ring
  std::vector<Entry> entries_;
  std::vector<char> texts_;  // a ring, too; no line's texts go around its end
};

}  // namespace millrace
