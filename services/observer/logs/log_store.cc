#include "services/observer/logs/log_store.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include "common/clock.h"
#include "services/observer/traces/json_text.h"

namespace millrace {
namespace {

template <typename T>
bool ParseNumber(std::string_view text, T* number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc() && end == text.data() + text.size();
}

bool IsName(std::string_view text) {
  return text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
         });
}

bool TakePair(std::string_view key, std::string_view value, LogQuery* query) {
  if (key == "level") {
    const std::optional<LogLevel> level = LevelOf(value);
    query->level = level.value_or(LogLevel::kInfo);
    return level.has_value() || value.empty();
  }
  if (key == "process" || key == "event") {
    (key == "process" ? query->process : query->event) = value;
    return IsName(value);
  }
  if (key == "after") return ParseNumber(value, &query->after.emplace());
  if (key == "limit") {
    return ParseNumber(value, &query->limit) && query->limit >= 1 &&
           query->limit <= LogQuery::kMostLimit;
  }
  return false;
}

void Write(const LogLine& line, JsonText* json) {
  json->Open('{');
  json->Key("seq").Number(static_cast<int64_t>(line.seq));
  json->Key("number").Number(static_cast<int64_t>(line.number & INT64_MAX));
  json->Key("unix_us").Number(line.unix_ns / kNanosPerMicro);
  json->Key("process").String(line.process);
  json->Key("pid").Number(line.pid);
  json->Key("incarnation").Number(line.incarnation);
  json->Key("level").String(LevelName(line.level));
  json->Key("event").String(line.event);
  json->Key("fields").String(line.fields);
  json->Key("suppressed").Number(static_cast<int64_t>(line.suppressed));
  json->Close('}');
}

}  // namespace

std::optional<LogQuery> LogQuery::Parse(std::string_view query) {
  LogQuery asked;
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    const size_t equals = pair.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    if (!TakePair(pair.substr(0, equals), pair.substr(equals + 1), &asked)) return std::nullopt;
  }
  return asked;
}

bool LogQuery::Wants(const LogLine& line) const {
  if (line.level < level || (!event.empty() && line.event != event)) return false;
  if (process.empty() || line.process == process) return true;
  const size_t digits = line.process.find_first_of("0123456789");
  return digits != std::string::npos && line.process.substr(0, digits) == process;
}

void LogStore::Add(LogLine line) {
  line.seq = next_++;
  bytes_ += line.bytes();
  lines_.push_back(std::move(line));
  while (lines_.size() > kMostLines || bytes_ > kMostBytes) {
    bytes_ -= lines_.front().bytes();
    lines_.pop_front();
  }
}

std::string LogStore::Json(const LogQuery& query) const {
  std::vector<const LogLine*> found;
  uint64_t next = next_ - 1;
  if (query.after.has_value()) {
    for (const LogLine& line : lines_) {
      if (line.seq <= *query.after || !query.Wants(line)) continue;
      if (found.size() == query.limit) {
        next = found.back()->seq;
        break;
      }
      found.push_back(&line);
    }
  } else {
    for (auto line = lines_.rbegin(); line != lines_.rend() && found.size() < query.limit; ++line) {
      if (query.Wants(*line)) found.push_back(&*line);
    }
    std::reverse(found.begin(), found.end());
  }
  JsonText json;
  json.Open('{').Key("next").Number(static_cast<int64_t>(next)).Key("lines").Open('[');
  for (const LogLine* line : found) Write(*line, &json);
  json.Close(']').Close('}');
  return json.Take();
}

}  // namespace millrace
