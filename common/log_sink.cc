#include "common/log_sink.h"

#include <atomic>

namespace millrace {
namespace {

std::atomic<LogSink> g_sink{nullptr};

}  // namespace

void SetLogSink(LogSink sink) {
  // release: meets the acquire in HandToLogSink: what the sink uses stands.
  g_sink.store(sink, std::memory_order_release);
}

void HandToLogSink(LogLevel level, std::string_view line) {
  // acquire: meets the release in SetLogSink.
  if (const LogSink sink = g_sink.load(std::memory_order_acquire)) sink(level, line);
}

}  // namespace millrace
