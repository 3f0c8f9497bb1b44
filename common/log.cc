#include "common/log.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/log_limit.h"

namespace millrace {
namespace {

constexpr size_t kMaxLine = 1024;

// Set once before other threads exist, so no lock stands in the way of a log line.
std::string& ProcessName() {
  static std::string* name = new std::string;
  return *name;
}

LogLimit& Limit() {
  static LogLimit* limit = new LogLimit;
  return *limit;
}

std::string_view LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  MR_CHECK(false, "a log level is one of the three");
  return "";
}

bool IsPlain(char c) { return c > ' ' && c < 0x7f && c != '"' && c != '=' && c != '\\'; }

bool NeedsQuotes(std::string_view value) {
  for (char c : value) {
    if (!IsPlain(c)) return true;
  }
  return value.empty();
}

std::string Escape(char c) {
  if (c == '"' || c == '\\') return std::string("\\") + c;
  if (c == '\n') return "\\n";
  if (c >= ' ' && c < 0x7f) return std::string(1, c);
  char text[5];
  snprintf(text, sizeof text, "\\x%02x", static_cast<unsigned char>(c));
  return text;
}

// Adds " key=value"; a value that does not fit is cut, and its closing quote still stands.
void AppendField(std::string* line, std::string_view key, std::string_view value) {
  constexpr size_t kEnd = kMaxLine - 2;  // the closing quote and the newline
  if (line->size() + key.size() + 3 > kEnd) return;
  if (!line->empty()) line->push_back(' ');
  line->append(key).push_back('=');
  const bool quoted = NeedsQuotes(value);
  if (quoted) line->push_back('"');
  for (char c : value) {
    const std::string text = Escape(c);
    if (line->size() + text.size() > kEnd) break;
    line->append(text);
  }
  if (quoted) line->push_back('"');
}

std::string Timestamp() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  tm parts;
  gmtime_r(&now.tv_sec, &parts);
  char date[32];
  const size_t length = strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &parts);
  char micros[32];
  snprintf(micros, sizeof micros, ".%06ldZ", now.tv_nsec / 1000);
  return std::string(date, length) + micros;
}

}  // namespace

void SetLogProcess(std::string_view name) { ProcessName() = name; }

void Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  uint64_t suppressed = 0;
  if (!Limit().Admit(event, MonotonicNanos(), &suppressed)) return;
  std::string line;
  AppendField(&line, "ts", Timestamp());
  AppendField(&line, "level", LevelName(level));
  if (!ProcessName().empty()) AppendField(&line, "process", ProcessName());
  AppendField(&line, "event", event);
  if (suppressed > 0) AppendField(&line, "suppressed", std::to_string(suppressed));
  for (const LogField& field : fields) AppendField(&line, field.key, field.value);
  line.push_back('\n');
  MR_CHECK(line.size() <= kMaxLine, "a log line fits its one write");
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
  HandToLogSink(level, line);
}

}  // namespace millrace
