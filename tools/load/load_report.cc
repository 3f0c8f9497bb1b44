#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tools/load/load.h"

namespace millrace {

int64_t LoadReport::PercentileNs(double q) const {
  if (latencies_ns.empty()) return 0;
  const auto last = static_cast<double>(latencies_ns.size() - 1);
  return latencies_ns[static_cast<size_t>(q * last + 0.5)];
}

double LoadReport::RequestsPerSecond() const {
  return seconds > 0 ? static_cast<double>(answered) / seconds : 0;
}

std::string LoadReport::ToJson() const {
  const nlohmann::json json = {{"sent", sent},
                               {"answered", answered},
                               {"mismatched", mismatched},
                               {"failed", failed},
                               {"retried", retried},
                               {"failures", failures},
                               {"seconds", seconds},
                               {"requests_per_s", RequestsPerSecond()},
                               {"p50_us", PercentileNs(0.5) / 1e3},
                               {"p90_us", PercentileNs(0.9) / 1e3},
                               {"p99_us", PercentileNs(0.99) / 1e3},
                               {"p999_us", PercentileNs(0.999) / 1e3}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string LoadReport::ToText() const {
  std::string text =
      absl::StrFormat("sent %d, answered %d, failed %d", sent, answered + mismatched, failed);
  if (mismatched > 0)
    absl::StrAppendFormat(&text, ", with other bytes than expected %d", mismatched);
  if (retried > 0) absl::StrAppendFormat(&text, ", tried again %d", retried);
  absl::StrAppendFormat(&text, "\n%.0f requests/s; p50 %.3f ms, p99 %.3f ms, p99.9 %.3f ms\n",
                        RequestsPerSecond(), PercentileNs(0.5) / 1e6, PercentileNs(0.99) / 1e6,
                        PercentileNs(0.999) / 1e6);
  for (const auto& [why, count] : failures) absl::StrAppendFormat(&text, "%d x %s\n", count, why);
  return text;
}

}  // namespace millrace
