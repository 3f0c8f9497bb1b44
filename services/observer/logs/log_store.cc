#include "services/observer/logs/log_store.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include "common/check.h"
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

LogStore::LogStore(int64_t now_us)
    : next_(static_cast<uint64_t>(now_us)), entries_(kMostLines), texts_(kMostBytes) {}

// The texts that are there lie between the oldest one's begin and the newest one's end, which may
// be behind it or, around the end of the ring, before it.
std::optional<uint32_t> LogStore::RoomFor(size_t bytes) const {
  if (count_ == kMostLines) return std::nullopt;
  if (count_ == 0) return 0;
  const size_t begin = at(0).offset;
  const size_t end = at(count_ - 1).offset + at(count_ - 1).bytes();
  const bool around = at(count_ - 1).offset < begin;
  if (!around && end + bytes <= kMostBytes) return static_cast<uint32_t>(end);
  const size_t from = around ? end : 0;
  if (from + bytes > begin) return std::nullopt;
  return static_cast<uint32_t>(from);
}

void LogStore::Add(const LogLine& line) {
  const auto size = [](const std::string& text) { return static_cast<uint32_t>(text.size()); };
  Entry entry = {next_++,
                 line.number,
                 line.unix_ns,
                 line.suppressed,
                 line.pid,
                 line.incarnation,
                 line.level,
                 0,
                 size(line.process),
                 size(line.event),
                 size(line.fields)};
  MR_CHECK(entry.bytes() <= kMostBytes, "a line is longer than all of the store");
  std::optional<uint32_t> room;
  while (!(room = RoomFor(std::max<size_t>(entry.bytes(), 1))).has_value()) {
    first_ = (first_ + 1) % kMostLines;
    --count_;
  }
  entry.offset = *room;
  char* to = texts_.data() + entry.offset;
  for (const std::string* text : {&line.process, &line.event, &line.fields}) {
    to = std::copy(text->begin(), text->end(), to);
  }
  entries_[(first_ + count_) % kMostLines] = entry;
  ++count_;
}

LogLine LogStore::line(size_t i) const {
  const Entry& entry = at(i);
  const char* from = texts_.data() + entry.offset;
  LogLine line;
  line.seq = entry.seq;
  line.number = entry.number;
  line.unix_ns = entry.unix_ns;
  line.process.assign(from, entry.process_bytes);
  line.pid = entry.pid;
  line.incarnation = entry.incarnation;
  line.level = entry.level;
  line.event.assign(from += entry.process_bytes, entry.event_bytes);
  line.fields.assign(from + entry.event_bytes, entry.fields_bytes);
  line.suppressed = entry.suppressed;
  return line;
}

std::string LogStore::Json(const LogQuery& query) const {
  std::vector<LogLine> found;
  uint64_t next = next_ - 1;
  if (query.after.has_value()) {
    for (size_t i = 0; i < count_; ++i) {
      LogLine one = line(i);
      if (one.seq <= *query.after || !query.Wants(one)) continue;
      if (found.size() == query.limit) {
        next = found.back().seq;
        break;
      }
      found.push_back(std::move(one));
    }
  } else {
    for (size_t i = count_; i-- > 0 && found.size() < query.limit;) {
      LogLine one = line(i);
      if (query.Wants(one)) found.push_back(std::move(one));
    }
    std::reverse(found.begin(), found.end());
  }
  JsonText json;
  json.Open('{').Key("next").Number(static_cast<int64_t>(next)).Key("lines").Open('[');
  for (const LogLine& one : found) Write(one, &json);
  json.Close(']').Close('}');
  return json.Take();
}

}  // namespace millrace
