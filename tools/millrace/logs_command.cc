// `millrace logs`: what the processes logged of late, from the observer.
#include <chrono>
#include <iostream>
#include <memory>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tools/load/http_connection.h"
#include "tools/millrace/commands.h"
#include "tools/millrace/find_observer.h"
#include "tools/millrace/log_report.h"

namespace millrace {
namespace {

using nlohmann::json;

constexpr int64_t kAnswerMs = 5'000;
constexpr auto kPeriod = std::chrono::milliseconds(300);

struct LogsOptions {
  ObserverOptions observer;
  std::string level = "info", process, event;
  size_t limit = 200;
  bool follow = false;
  bool as_json = false;
};

std::string TargetOf(const LogsOptions& options, const std::string& after) {
  return absl::StrCat("/api/logs?level=", options.level, "&process=", options.process,
                      "&event=", options.event, "&limit=", options.limit,
                      after.empty() ? "" : "&after=", after);
}

absl::StatusOr<json> Ask(const LogsOptions& options, const std::string& after) {
  const absl::StatusOr<std::string> address = FindObserver(options.observer);
  if (!address.ok()) return address.status();
  const absl::StatusOr<std::string> text =
      HttpConnection(*address, kAnswerMs).Get(TargetOf(options, after));
  if (!text.ok()) return text.status();
  json reply = json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!reply.is_object()) return absl::InternalError("the observer's answer holds no lines");
  return reply;
}

void Print(const LogsOptions& options, const json& reply, LogReport* report) {
  for (const json& line : reply.value("lines", json::array())) {
    if (!report->IsNew(line)) continue;
    std::cout << (options.as_json ? line.dump() : LogText(line)) << "\n";
  }
  std::cout << std::flush;
}

int Logs(const LogsOptions& options) {
  LogReport report;
  absl::StatusOr<json> reply = Ask(options, "");
  if (!reply.ok()) {
    const int code = Fail(reply.status());
    return absl::IsFailedPrecondition(reply.status()) ? kExitNo : code;
  }
  Print(options, *reply, &report);
  // An observer that goes is waited for; its successor numbers its lines behind those before.
  while (options.follow && std::cout.good()) {
    std::this_thread::sleep_for(kPeriod);
    const absl::StatusOr<json> more = Ask(options, reply->value("next", json(0)).dump());
    if (!more.ok()) continue;
    Print(options, *more, &report);
    reply = *more;
  }
  return kExitGood;
}

}  // namespace

void AddLogs(CLI::App* app, int* exit_code) {
  auto options = std::make_shared<LogsOptions>();
  CLI::App* command =
      app->add_subcommand("logs", "Show what the server's processes logged of late");
  AddObserverFlags(command, &options->observer);
  command->add_option("--level", options->level, "That and worse: info, warning, error")
      ->check(CLI::IsMember({"info", "warning", "error"}))
      ->capture_default_str();
  command->add_option("--process", options->process, "A stage, or one process: execution1");
  command->add_option("--event", options->event, "Lines of this event alone");
  command->add_option("--limit", options->limit, "So many of the newest")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_flag("-f,--follow", options->follow, "Go on with those that come, until ended");
  command->add_flag("--json", options->as_json, "One JSON object a line");
  command->callback([=] { *exit_code = Logs(*options); });
}

}  // namespace millrace
