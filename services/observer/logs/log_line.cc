#include "services/observer/logs/log_line.h"

#include <algorithm>
#include <charconv>

namespace millrace {
namespace {

constexpr std::string_view kLevelNames[] = {"info", "warning", "error"};
constexpr uint64_t kMostSuppressed = 1'000'000'000;

std::string Printable(std::string_view bytes) {
  std::string text(bytes);
  for (char& c : text) {
    if (c < ' ' || c > '~') c = '?';
  }
  return text;
}

bool IsEventName(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

// "key=value " off the front of the text: the value, where the key is that one and is not quoted.
std::optional<std::string_view> TakeField(std::string_view key, std::string_view* text) {
  if (text->substr(0, key.size()) != key || text->substr(key.size(), 1) != "=") return std::nullopt;
  const size_t begin = key.size() + 1, end = std::min(text->find(' '), text->size());
  const std::string_view value = text->substr(begin, end - begin);
  if (value.substr(0, 1) == "\"") return std::nullopt;
  text->remove_prefix(std::min(text->size(), end + 1));
  return value;
}

}  // namespace

std::string_view LevelName(LogLevel level) { return kLevelNames[static_cast<size_t>(level)]; }

std::optional<LogLevel> LevelOf(std::string_view name) {
  for (const LogLevel level : {LogLevel::kInfo, LogLevel::kWarning, LogLevel::kError}) {
    if (LevelName(level) == name) return level;
  }
  return std::nullopt;
}

LogLine ReadLogRecord(const LogRecord& record, int64_t now_ns) {
  LogLine line;
  line.unix_ns = std::clamp<int64_t>(record.unix_ns, 0, now_ns);
  line.level = static_cast<LogLevel>(std::min<uint32_t>(record.level, 2));
  const size_t length = std::min<size_t>(record.length, LogRecord::kMaxBytes);
  const std::string text = Printable({record.text, length});
  std::string_view left = text;
  // In the order in which common/log.cc writes them; what dies writes less of them.
  for (const std::string_view key : {"ts", "level", "process", "program", "pid"}) {
    TakeField(key, &left);
  }
  std::string_view rest = left;
  const std::optional<std::string_view> event = TakeField("event", &rest);
  if (!event.has_value() || !IsEventName(*event)) {
    line.fields = text;
    return line;
  }
  line.event = *event;
  if (const std::optional<std::string_view> count = TakeField("suppressed", &rest)) {
    std::from_chars(count->data(), count->data() + count->size(), line.suppressed);
    line.suppressed = std::min(line.suppressed, kMostSuppressed);
  }
  line.fields = rest;
  return line;
}

}  // namespace millrace
