// `millrace quarantine`: the requests that were given up as poison.
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "common/client_id.h"
#include "tools/millrace/admin_client.h"
#include "tools/millrace/commands.h"

namespace millrace {
namespace {

using nlohmann::json;

constexpr int64_t kAnswerMs = 10'000;

struct QuarantineOptions {
  std::string socket = DefaultAdminSocket();
  std::string id;
  bool as_json = false;
};

std::string Deaths(const json& deaths) {
  std::vector<std::string> parts;
  for (const json& death : deaths) {
    const int signal = death.at("signal");
    const bool device = death.at("device_lost");
    parts.push_back(absl::StrCat(death.at("stage").get<std::string>(), " #",
                                 death.at("incarnation").get<int64_t>(), " ",
                                 device        ? "lost its device"
                                 : signal != 0 ? absl::StrCat("signal ", signal)
                                               : std::string("was killed")));
  }
  return absl::StrJoin(parts, ", ");
}

std::string Tensors(const json& tensors) {
  std::vector<std::string> parts;
  for (const json& tensor : tensors) {
    parts.push_back(absl::StrCat(tensor.at("datatype").get<std::string>(), "[",
                                 tensor.at("shape").at(0).get<int64_t>(), ",",
                                 tensor.at("shape").at(1).get<int64_t>(), "] ",
                                 tensor.at("bytes").get<int64_t>(), " bytes"));
  }
  return absl::StrJoin(parts, ", ");
}

void Print(const json& request) {
  const std::string id = request.at("client_id_hash");
  const absl::Time time = absl::FromUnixMillis(request.at("time_ms").get<int64_t>());
  std::cout << absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone()) << "  "
            << request.at("model").get<std::string>() << " "
            << request.at("version").get<std::string>() << "  route " << request.at("route")
            << "  id " << (id.empty() ? "-" : id) << "  " << request.at("rows")
            << " rows: " << Tensors(request.at("tensors")) << "\n    "
            << Deaths(request.at("deaths")) << "\n";
}

int Quarantine(const QuarantineOptions& options) {
  absl::StatusOr<json> answer = AskAdmin(options.socket, {{"verb", "quarantine"}}, kAnswerMs);
  if (!answer.ok()) {
    const int code = Fail(answer.status());
    return absl::IsFailedPrecondition(answer.status()) ? kExitNo : code;
  }
  try {
    json requests = json::array();
    const std::string wanted = absl::StrFormat("%016x", HashClientId(options.id));
    for (const json& request : answer->at("requests")) {
      if (options.id.empty() || request.at("client_id_hash") == wanted) requests.push_back(request);
    }
    if (options.as_json) {
      (*answer)["requests"] = requests;
      std::cout << answer->dump(-1, ' ', false, json::error_handler_t::replace) << "\n";
      return kExitGood;
    }
    for (const json& request : requests) Print(request);
    std::cout << "poisoned since the start: " << answer->at("poisoned") << "\n";
  } catch (const json::exception& error) {
    return Fail(absl::InternalError(absl::StrCat("the server's answer: ", error.what())));
  }
  return kExitGood;
}

}  // namespace

void AddQuarantine(CLI::App* app, int* exit_code) {
  auto options = std::make_shared<QuarantineOptions>();
  CLI::App* command = app->add_subcommand(
      "quarantine", "List the requests that were given up because they ended their workers");
  command->add_option("--admin-socket", options->socket, "The server's admin socket")
      ->capture_default_str();
  command->add_option("--id", options->id, "Only those whose client gave them this id");
  command->add_flag("--json", options->as_json, "As JSON");
  command->callback([=] { *exit_code = Quarantine(*options); });
}

}  // namespace millrace
