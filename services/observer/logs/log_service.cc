#include "services/observer/logs/log_service.h"

#include <algorithm>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/log.h"

namespace millrace {
namespace {

// More in one look is no count but nonsense of a peer's.
constexpr uint64_t kMostLost = 1 << 30;

int64_t NowNanos() { return absl::ToUnixNanos(absl::Now()); }

uint64_t Grown(uint64_t now, uint64_t before) {
  return now > before ? std::min(now - before, kMostLost) : 0;
}

}  // namespace

LogService::LogService() : store_(NowNanos() / kNanosPerMicro) {}

void LogService::Open(Source* source, const Fd& fd) {
  absl::StatusOr<TraceReader> ring = TraceReader::Open(fd.get(), source->pid, kLogRecordWords);
  if (!ring.ok()) {
    Log(LogLevel::kWarning, "logs_refused",
        {{"of", source->process}, {"pid", source->pid}, {"why", ring.status().ToString()}});
    return;
  }
  source->ring = std::make_unique<const TraceReader>(std::move(*ring));
  // What was lost before this observer looked was lost to another.
  source->next = std::max(source->next, source->ring->First());
  source->skipped = source->ring->skipped();
}

void LogService::Observe(const ObserveLogs& message, const std::vector<Fd>& fds) {
  if (fds.size() != static_cast<size_t>(message.rings_size())) return;
  std::lock_guard<std::mutex> lock(mutex_);
  for (Source& source : sources_) source.named = false;
  for (size_t i = 0; i < fds.size(); ++i) {
    const ObserveLogs::Ring& ring = message.rings(static_cast<int>(i));
    auto known = std::find_if(sources_.begin(), sources_.end(), [&](const Source& source) {
      return source.process == ring.process() && source.pid == ring.pid();
    });
    if (known == sources_.end()) {
      Source source;
      source.process = ring.process();
      source.pid = ring.pid();
      source.incarnation = ring.incarnation();
      sources_.push_back(std::move(source));
      known = std::prev(sources_.end());
    }
    known->named = true;
    if (known->ring == nullptr) Open(&*known, fds[i]);
  }
  ReadAll();
  for (Source& source : sources_) {
    if (!source.named) source.ring = nullptr;
  }
  // Those that are gone are remembered, for where their reading had come to; not for ever.
  for (auto source = sources_.begin();
       source != sources_.end() && sources_.size() > kMostSources;) {
    source = source->named ? std::next(source) : sources_.erase(source);
  }
}

void LogService::Read(Source* source, std::vector<LogLine>* lines) {
  const TraceReader& ring = *source->ring;
  Count& count = counts_[source->process];
  const uint64_t first = ring.First(), end = ring.End(), skipped = ring.skipped();
  count.contended += Grown(skipped, source->skipped);
  source->skipped = skipped;
  source->next = std::min(source->next, end);  // nobody can take back what was written
  count.overwritten += Grown(first, source->next);
  for (source->next = std::max(source->next, first); source->next < end; ++source->next) {
    LogRecord record;
    if (!ring.Read(source->next, &record)) {
      ++count.overwritten;
      continue;
    }
    LogLine line = ReadLogRecord(record, NowNanos());
    line.number = source->next;
    line.process = source->process;
    line.pid = source->pid;
    line.incarnation = source->incarnation;
    ++count.lines[static_cast<size_t>(line.level)];
    count.suppressed += line.suppressed;
    lines->push_back(std::move(line));
  }
}

void LogService::ReadAll() {
  std::vector<LogLine> lines;
  for (Source& source : sources_) {
    if (source.ring != nullptr) Read(&source, &lines);
  }
  std::stable_sort(lines.begin(), lines.end(),
                   [](const LogLine& a, const LogLine& b) { return a.unix_ns < b.unix_ns; });
  for (const LogLine& line : lines) store_.Add(line);
}

void LogService::Look() {
  std::lock_guard<std::mutex> lock(mutex_);
  ReadAll();
}

std::optional<std::string> LogService::Json(std::string_view query) {
  const std::optional<LogQuery> asked = LogQuery::Parse(query);
  if (!asked.has_value()) return std::nullopt;
  std::lock_guard<std::mutex> lock(mutex_);
  ReadAll();
  return store_.Json(*asked);
}

void LogService::Show(const std::string& incarnation, Families* out) {
  std::lock_guard<std::mutex> lock(mutex_);
  ReadAll();
  for (const auto& [process, count] : counts_) {
    for (const LogLevel level : {LogLevel::kInfo, LogLevel::kWarning, LogLevel::kError}) {
      out->Counter("millrace_log_lines_total",
                   "Lines that a process logged, as far as they were read.",
                   {{"process", process},
                    {"level", std::string(LevelName(level))},
                    {"incarnation", incarnation}},
                   static_cast<double>(count.lines[static_cast<size_t>(level)]));
    }
    const auto lost = [&](const char* reason, uint64_t value) {
      out->Counter("millrace_log_lines_lost_total",
                   "Lines that cannot be shown: too many of one event (suppressed), overwritten "
                   "before they were read, or logged while another thread did (contended).",
                   {{"process", process}, {"reason", reason}, {"incarnation", incarnation}},
                   static_cast<double>(value));
    };
    lost("suppressed", count.suppressed);
    lost("overwritten", count.overwritten);
    lost("contended", count.contended);
  }
}

}  // namespace millrace
