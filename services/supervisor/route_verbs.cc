#include "services/supervisor/route_verbs.h"

#include "absl/strings/str_cat.h"
#include "services/supervisor/stage_table.h"

namespace millrace {
namespace {

using nlohmann::json;

bool IsLoaded(const Catalog& catalog, const RouteTarget& target) {
  for (const Model& model : catalog.models()) {
    if (model.name() == target.model() && model.version() == target.version()) return true;
  }
  return false;
}

json TargetsOf(const Fleet& fleet, const RouteRule& rule) {
  json targets = json::array();
  for (const RouteTarget& target : rule.targets()) {
    targets.push_back({{"model", target.model()},
                       {"version", target.version()},
                       {"parts", target.weight()},
                       {"loaded", IsLoaded(fleet.catalog().catalog(), target)}});
  }
  return targets;
}

}  // namespace

std::optional<json> AnswerRoutes(Fleet* fleet, const std::string& line, uid_t user,
                                 int64_t asked_ns) {
  ChangeRoutes change;
  // A line that waits is asked again with the same time, which no other line has.
  change.set_request(static_cast<uint64_t>(asked_ns));
  change.set_command_json(line);
  change.set_who(absl::StrCat("uid:", user));
  const std::optional<RoutesChanged> answer = fleet->RoutesForAdmin(change);
  if (!answer.has_value()) return std::nullopt;
  if (answer->code() != 0) return json{{"ok", false}, {"error", answer->message()}};
  json reply = json::parse(answer->reply_json(), nullptr, /*allow_exceptions=*/false);
  if (!reply.is_object()) reply = json::object();
  reply["ok"] = true;
  reply["message"] = answer->message();
  return reply;
}

json RoutesReport(const Fleet& fleet) {
  const Routes& routes = fleet.routes().routes();
  json list = json::array(), behind = json::array();
  for (const NamedRoute& route : routes.routes()) {
    json rules = json::array();
    for (const RouteRule& rule : route.rules()) {
      rules.push_back({{"label", rule.label()},
                       {"targets", TargetsOf(fleet, rule)},
                       {"shadows", rule.shadows_size()},
                       {"fallbacks", rule.fallbacks_size()}});
    }
    list.push_back({{"name", route.name()}, {"rules", std::move(rules)}});
  }
  for (const auto& [key, process] : fleet.processes()) {
    if (process.stage != Stage::kIngress || process.state != ProcessState::kReady) continue;
    if (process.routes_taken < fleet.routes().serial()) {
      behind.push_back(ProcessName(process.stage, process.index));
    }
  }
  return {{"generation", routes.generation()},
          {"routes", std::move(list)},
          {"behind", std::move(behind)}};
}

}  // namespace millrace
