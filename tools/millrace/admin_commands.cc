#include <poll.h>

#include <algorithm>
#include <iostream>
#include <memory>

#include "common/clock.h"
#include "tools/millrace/admin_client.h"
#include "tools/millrace/commands.h"
#include "tools/millrace/rollout_report.h"
#include "tools/millrace/status_report.h"

namespace millrace {
namespace {

using nlohmann::json;

constexpr int64_t kAnswerMs = 10'000;

struct AdminOptions {
  std::string socket = DefaultAdminSocket();
  bool as_json = false;
  std::string stage;
  std::string count;  // of processes, or "auto"
  double timeout_s = 60;
  std::string model;
  bool dependents = false;
};

CLI::App* AddAdminCommand(CLI::App* app, const char* name, const char* help,
                          AdminOptions* options) {
  CLI::App* command = app->add_subcommand(name, help);
  command->add_option("--admin-socket", options->socket, "The server's admin socket")
      ->capture_default_str();
  return command;
}

int Refused(const absl::Status& status) {
  const int code = Fail(status);
  return absl::IsFailedPrecondition(status) ? kExitNo : code;
}

// Asked only where the registry watches versions, so that status waits for nobody else.
std::string RunningRollouts(const std::string& socket, const json& status) {
  constexpr int64_t kPatienceMs = 2'000;
  if (status.value("watched_versions", 0) == 0) return "";
  const absl::StatusOr<json> answer =
      AskAdmin(socket, {{"verb", "rollout"}, {"action", "status"}}, kPatienceMs);
  if (!answer.ok()) return "";
  return RenderRollouts(*answer, /*running=*/true).value_or("");
}

int Status(const AdminOptions& options) {
  const absl::StatusOr<json> answer = AskAdmin(options.socket, {{"verb", "status"}}, kAnswerMs);
  if (!answer.ok()) return Refused(answer.status());
  if (options.as_json) {
    std::cout << answer->dump(-1, ' ', false, json::error_handler_t::replace) << "\n";
    return kExitGood;
  }
  const absl::StatusOr<std::string> report = RenderStatus(*answer);
  if (!report.ok()) return Fail(report.status());
  std::cout << *report << RunningRollouts(options.socket, *answer);
  return kExitGood;
}

// A server that is only starting has no socket yet: asks again until the time is over.
int WaitReady(const AdminOptions& options) {
  constexpr int64_t kLongestQuestionMs = 600'000, kPauseMs = 20;
  const int64_t end_ns =
      MonotonicNanos() + static_cast<int64_t>(options.timeout_s * kNanosPerSecond);
  for (;;) {
    const int64_t left_ms = std::max<int64_t>(0, (end_ns - MonotonicNanos()) / kNanosPerMilli);
    const json question = {{"verb", "wait_ready"},
                           {"timeout_ms", std::min(left_ms, kLongestQuestionMs)}};
    const absl::StatusOr<json> answer = AskAdmin(options.socket, question, left_ms + kAnswerMs);
    if (answer.ok() && answer->value("ready", false)) return kExitGood;
    if (left_ms == 0) {
      if (!answer.ok()) return Refused(answer.status());
      std::cerr << "millrace: the server is not ready after " << options.timeout_s << " s\n";
      return kExitNo;
    }
    if (!answer.ok() && !absl::IsUnavailable(answer.status())) return Refused(answer.status());
    poll(nullptr, 0, kPauseMs);
  }
}

int Tell(const AdminOptions& options, const json& question) {
  const absl::StatusOr<json> answer = AskAdmin(options.socket, question, kAnswerMs);
  return answer.ok() ? kExitGood : Refused(answer.status());
}

}  // namespace

void AddStatus(CLI::App* app, int* exit_code) {
  auto options = std::make_shared<AdminOptions>();
  CLI::App* status = AddAdminCommand(
      app, "status", "Show the server's processes, requests and models", options.get());
  status->add_flag("--json", options->as_json, "Everything the server tells, as JSON");
  status->callback([=] { *exit_code = Status(*options); });
}

void AddWaitReady(CLI::App* app, int* exit_code) {
  auto options = std::make_shared<AdminOptions>();
  CLI::App* wait = AddAdminCommand(
      app, "wait-ready", "Wait until the server is ready; exit code 1 if it is not in time",
      options.get());
  wait->add_option("--timeout", options->timeout_s, "Seconds")
      ->check(CLI::Range(0.0, 86'400.0))
      ->capture_default_str();
  wait->callback([=] { *exit_code = WaitReady(*options); });
}

void AddScale(CLI::App* app, int* exit_code) {
  auto options = std::make_shared<AdminOptions>();
  CLI::App* scale =
      AddAdminCommand(app, "scale", "Run a stage in so many processes", options.get());
  scale->add_option("stage", options->stage, "ingress, features, execution or aggregation")
      ->required();
  scale
      ->add_option("count", options->count,
                   "Processes; or auto: as the stage's policy finds, which a number overrules")
      ->required()
      ->check(CLI::IsMember({"auto"}) | CLI::Range(1, 64));
  scale->callback([=] {
    json question = {{"verb", "scale"}, {"stage", options->stage}, {"count", options->count}};
    if (options->count != "auto") question["count"] = std::stoll(options->count);
    *exit_code = Tell(*options, question);
  });
}

// A change is answered when it is live; the server has a limit of its own, shorter than this.
int ChangeModel(const AdminOptions& options, json question) {
  constexpr int64_t kChangeMs = 7'200'000;
  question["model"] = options.model;
  const absl::StatusOr<json> answer = AskAdmin(options.socket, question, kChangeMs);
  return answer.ok() ? kExitGood : Refused(answer.status());
}

void AddModel(CLI::App* app, int* exit_code) {
  auto options = std::make_shared<AdminOptions>();
  CLI::App* model = app->add_subcommand("model", "Load and unload models; check and sign versions");
  model->require_subcommand(1);
  AddVersionCommands(model, exit_code);
  CLI::App* load = AddAdminCommand(model, "load",
                                   "Read a model again from the repository; ends when it is served",
                                   options.get());
  CLI::App* unload = AddAdminCommand(
      model, "unload", "Serve a model no more until it is loaded; ends when that is so",
      options.get());
  for (CLI::App* command : {load, unload}) {
    command->add_option("name", options->model, "The model's folder in the repository")->required();
  }
  unload->add_flag("--dependents", options->dependents,
                   "Of an ensemble: also the members that no other ensemble needs");
  load->callback([=] { *exit_code = ChangeModel(*options, {{"verb", "load"}}); });
  unload->callback([=] {
    *exit_code =
        ChangeModel(*options, {{"verb", "unload"}, {"unload_dependents", options->dependents}});
  });
}

void AddStop(CLI::App* app, int* exit_code) {
  auto options = std::make_shared<AdminOptions>();
  CLI::App* stop = AddAdminCommand(
      app, "stop", "Stop the server: requests in flight are finished first", options.get());
  stop->callback([=] { *exit_code = Tell(*options, {{"verb", "stop"}}); });
}

}  // namespace millrace
