#include "services/registry/routes/for_clients.h"

#include <nlohmann/json.hpp>

namespace millrace {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kBegin = "in force, not kept: ";
constexpr std::string_view kNotKept = "the disk does not take it: the server's log says why";
constexpr std::string_view kUnreadable = "routes.yaml cannot be read: the server's log says why";

}  // namespace

RouteOutcome ForClients(RouteOutcome outcome, const std::string& file) {
  if (outcome.message.rfind(kBegin, 0) == 0) {
    outcome.message.assign(kBegin).append(kNotKept);
  }
  Json reply = Json::parse(outcome.reply_json, nullptr, /*allow_exceptions=*/false);
  if (!reply.is_object() || !reply.contains("file")) return outcome;
  reply.erase("file");
  for (Json& fault : reply["file_faults"]) {
    if (fault.is_string() && fault.get<std::string>().find(file) == 0) fault = kUnreadable;
  }
  if (reply["not_kept"] != "") reply["not_kept"] = kNotKept;
  outcome.reply_json = reply.dump(-1, ' ', false, Json::error_handler_t::replace);
  return outcome;
}

}  // namespace millrace
