#include "services/runtime/log_ring.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "common/clock.h"
#include "common/log.h"
#include "ipc/control.pb.h"

namespace millrace {
namespace {

std::atomic<LogRing*> g_own{nullptr};

int64_t UnixNanos() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return int64_t{now.tv_sec} * kNanosPerSecond + now.tv_nsec;
}

pid_t g_pid = 0;

// Not a child that has not become another program yet: it has no such mapping.
void WriteToOwn(LogLevel level, std::string_view line) {
  LogRing* const ring = LogRing::own();
  if (ring != nullptr && getpid() == g_pid) ring->Write(level, line);
}

}  // namespace

absl::StatusOr<std::unique_ptr<LogRing>> LogRing::Create(uint32_t pid) {
  static_assert(sizeof(LogRecord) % sizeof(uint64_t) == 0);
  absl::StatusOr<TraceWriter> writer = TraceWriter::Create(pid, kSlots, kLogRecordWords);
  if (!writer.ok()) return writer.status();
  return std::unique_ptr<LogRing>(new LogRing(std::move(*writer)));
}

bool LogRing::Enter() {
  for (int i = 0; i < kSpins; ++i) {
    // acquire: meets the release in LogRing::Write, of the thread that was inside before.
    if (!busy_.exchange(true, std::memory_order_acquire)) return true;
    __builtin_ia32_pause();
  }
  return false;
}

void LogRing::Write(LogLevel level, std::string_view line) {
  if (!Enter()) {
    // relaxed: a count, read alone.
    unwritten_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  // relaxed: as above.
  for (const uint64_t all = unwritten_.load(std::memory_order_relaxed); counted_ < all;
       ++counted_) {
    writer_.Skip();
  }
  if (!line.empty() && line.back() == '\n') line.remove_suffix(1);
  LogRecord record;
  record.unix_ns = UnixNanos();
  record.level = static_cast<uint32_t>(level);
  record.length = static_cast<uint32_t>(std::min(line.size(), LogRecord::kMaxBytes));
  memcpy(record.text, line.data(), record.length);
  memset(record.text + record.length, 0, LogRecord::kMaxBytes - record.length);
  writer_.Write(record);
  // release: meets the acquire in LogRing::Enter.
  busy_.store(false, std::memory_order_release);
}

void LogRing::Begin() {
  absl::StatusOr<std::unique_ptr<LogRing>> ring = Create(static_cast<uint32_t>(getpid()));
  if (!ring.ok()) {
    Log(LogLevel::kWarning, "no_log_ring", {{"why", ring.status().ToString()}});
    return;
  }
  g_pid = getpid();
  // release: meets the acquire in LogRing::own.
  g_own.store(ring->release(), std::memory_order_release);
  SetLogSink(WriteToOwn);
}

LogRing* LogRing::own() {
  // acquire: meets the release in LogRing::Begin.
  return g_own.load(std::memory_order_acquire);
}

void LogRing::Say(const std::function<void(const FromProcess&, absl::Span<const int>)>& send) {
  const LogRing* const ring = own();
  if (ring == nullptr) return;
  FromProcess message;
  message.mutable_logs()->set_pid(static_cast<uint32_t>(getpid()));
  const int fd = ring->fd();
  send(message, {&fd, 1});
}

void LogRing::Say(ControlChannel* channel) {
  Say([channel](const FromProcess& message, absl::Span<const int> fds) {
    channel->Send(message, fds).IgnoreError();
  });
}

}  // namespace millrace
