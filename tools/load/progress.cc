#include "tools/load/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_format.h"

namespace millrace {
namespace {

constexpr size_t kBarColumns = 24;
constexpr size_t kUsualWidth = 80;

size_t Width(int fd) {
  winsize size = {};
  if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kUsualWidth;
  return size.ws_col;
}

}  // namespace

std::string ProgressLine(const std::string& name, const DriveProgress& progress, size_t width) {
  std::string text = name;
  if (progress.done_share >= 0) {
    const double share = std::min(1.0, progress.done_share);
    const auto full = static_cast<size_t>(share * kBarColumns);
    absl::StrAppendFormat(&text, " [%s%s] %3.0f%%", std::string(full, '#'),
                          std::string(kBarColumns - full, ' '), share * 100);
  }
  absl::StrAppendFormat(&text, " %3.0f s",
                        static_cast<double>(progress.elapsed_ns) / kNanosPerSecond);
  if (progress.warming_up) {
    absl::StrAppendFormat(&text, "  warm-up");
  } else {
    const DriveResult& result = *progress.result;
    absl::StrAppendFormat(&text, "  %d sent  %d failed  p99 %.3f ms", result.sent,
                          result.failed + result.mismatched,
                          static_cast<double>(result.latency.PercentileNs(0.99)) / kNanosPerMilli);
  }
  return text.substr(0, width);
}

ProgressBar::ProgressBar(int fd) : fd_(fd), shown_(isatty(fd) == 1) {}

void ProgressBar::Show(const std::string& name, const DriveProgress& progress) {
  if (!shown_) return;
  // One column less: a full last column would make some terminals go to the next line.
  Write("\r\x1b[K" + ProgressLine(name, progress, Width(fd_) - 1));
  drawn_ = true;
}

void ProgressBar::Clear() {
  if (drawn_) Write("\r\x1b[K");
  drawn_ = false;
}

void ProgressBar::Write(const std::string& text) {
  const ssize_t written = write(fd_, text.data(), text.size());
  static_cast<void>(written);  // a terminal that is gone is no reason to end a load
}

}  // namespace millrace
