#include "tools/millrace/log_report.h"

#include <time.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace millrace {
namespace {

constexpr int64_t kMicros = 1'000'000;

std::string Timestamp(int64_t unix_us) {
  const time_t seconds = unix_us / kMicros;
  tm parts = {};
  char date[32] = "";
  gmtime_r(&seconds, &parts);
  strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &parts);
  return absl::StrFormat("%s.%06dZ", date, unix_us % kMicros);
}

}  // namespace

bool LogReport::IsNew(const nlohmann::json& line) {
  const auto number = line.value("number", int64_t{0});
  const auto [known, first] =
      last_.try_emplace({line.value("process", ""), line.value("pid", int64_t{0})}, number);
  if (first) return true;
  if (number <= known->second) return false;
  known->second = number;
  return true;
}

std::string LogText(const nlohmann::json& line) {
  std::string text = absl::StrCat(Timestamp(line.value("unix_us", int64_t{0})), " ",
                                  line.value("level", "info"), " ", line.value("process", "?"));
  const auto add = [&](const std::string& more) {
    if (!more.empty()) absl::StrAppend(&text, " ", more);
  };
  add(line.value("event", ""));
  const auto suppressed = line.value("suppressed", int64_t{0});
  if (suppressed > 0) add(absl::StrCat("suppressed=", suppressed));
  add(line.value("fields", ""));
  return text;
}

}  // namespace millrace
