#include "services/supervisor/upgrade_verbs.h"

#include <string>

#include "common/version.h"

namespace millrace {
namespace {

using nlohmann::json;

constexpr int64_t kUsualMs = 120'000, kLongestMs = 3'600'000;

json Refusal(const std::string& why) { return {{"ok", false}, {"error", why}}; }

}  // namespace

std::optional<json> AnswerUpgrade(UpgradeDesk* desk, const json& request, int64_t asked_ns) {
  const auto path = request.find("path");
  if (path == request.end() || !path->is_string()) return Refusal("path: must be a string");
  const auto limit = request.find("ready_within_ms");
  if (limit != request.end() && !limit->is_number_integer()) {
    return Refusal("ready_within_ms: must be an integer");
  }
  const int64_t limit_ms = limit == request.end() ? kUsualMs : limit->get<int64_t>();
  if (limit_ms < 1 || limit_ms > kLongestMs) {
    return Refusal("ready_within_ms: must be from 1 to 3600000");
  }
  const std::optional<absl::Status> outcome = desk->Ask(*path, limit_ms, asked_ns);
  if (!outcome.has_value()) return std::nullopt;
  if (outcome->ok()) return json{{"ok", true}};
  return Refusal(std::string(outcome->message()));
}

json BuildReport(const UpgradeDesk& desk) {
  return {{"version", kVersion}, {"path", desk.build()}};
}

json UpgradeReport(const UpgradeDesk& desk) {
  const char* state = desk.retired()      ? "retired"
                      : desk.candidate()  ? "candidate"
                      : desk.to().empty() ? "none"
                                          : "starting";
  json report = {{"state", state}};
  report["to"] = desk.to().empty() ? json() : json(desk.to());
  report["last_failure"] = desk.failure().empty() ? json() : json(desk.failure());
  return report;
}

}  // namespace millrace
