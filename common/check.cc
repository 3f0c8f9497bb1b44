#include "common/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>

#include "common/log_sink.h"

namespace millrace {

void CheckFailed(const char* file, int line, const char* condition, const char* sentence) noexcept {
  char text[512];
  const int n =
      snprintf(text, sizeof text, "%s:%d: check failed: %s: %s\n", file, line, condition, sentence);
  const size_t length = n < 0 ? 0 : (static_cast<size_t>(n) < sizeof text ? n : sizeof text - 1);
  [[maybe_unused]] ssize_t written = write(STDERR_FILENO, text, length);
  char logged[sizeof text + 64];
  const int m = snprintf(logged, sizeof logged, "level=error event=check_failed why=\"%s:%d: %s\"",
                         file, line, sentence);
  if (m > 0) HandToLogSink(LogLevel::kError, {logged, std::min<size_t>(m, sizeof logged - 1)});
  abort();
}

}  // namespace millrace
