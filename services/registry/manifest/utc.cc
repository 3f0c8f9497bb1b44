#include "services/registry/manifest/utc.h"

#include <time.h>

namespace millrace {

constexpr char kForm[] = "%Y-%m-%dT%H:%M:%SZ";

std::optional<int64_t> ParseUtc(const std::string& text) {
  tm parts = {};
  const char* const end = strptime(text.c_str(), kForm, &parts);
  if (end == nullptr || *end != '\0') return std::nullopt;
  const int64_t seconds = timegm(&parts);
  // The 31st of April was read as the 1st of May.
  if (FormatUtc(seconds) != text) return std::nullopt;
  return seconds;
}

std::string FormatUtc(int64_t seconds) {
  const time_t time = seconds;
  tm parts = {};
  char text[32];
  gmtime_r(&time, &parts);
  return {text, strftime(text, sizeof text, kForm, &parts)};
}

int64_t WallSeconds() { return time(nullptr); }

}  // namespace millrace
