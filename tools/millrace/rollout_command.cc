// `millrace rollout`: a version up step by step, judged against the one before.
#include <iostream>
#include <memory>

#include "absl/time/time.h"
#include "tools/millrace/admin_client.h"
#include "tools/millrace/commands.h"
#include "tools/millrace/rollout_report.h"

namespace millrace {
namespace {

using nlohmann::json;

constexpr int64_t kAnswerMs = 30'000;

struct RolloutOptions {
  std::string socket = DefaultAdminSocket();
  std::string name, model, from, to;
  std::vector<double> steps;
  std::string every, patience, why;
  bool shadow_first = false, no_compare = false, as_json = false;
  json limits = json::object();
};

// What a person sets of the limits: flag, field, what it is.
struct LimitFlag {
  const char* flag;
  const char* field;
  const char* help;
  bool count;
};
constexpr LimitFlag kLimitFlags[] = {
    {"--min-requests", "min_requests", "Of each version in a step, before it ends [200]", true},
    {"--min-compared", "min_compared", "Compared copies in a step, likewise [200]", true},
    {"--error-excess", "error_excess", "Share of failed requests above the baseline's [0.005]",
     false},
    {"--p99-ratio", "p99_ratio", "Of the baseline's p99 (and median) [1.5]", false},
    {"--p99-slack-us", "p99_slack_us", "And at least so much above it [1000]", true},
    {"--changed", "changed", "Share of rows with another decision [0.01]", false},
    {"--cosine-loss", "cosine_loss", "Mean of 1 - cosine, of vectors [0.05]", false},
    {"--rank-loss", "rank_loss", "Mean of (1 - rank correlation) / 2 [0.1]", false},
    {"--false-alarms", "false_alarms",
     "Chance that a version as good as its baseline is taken back [0.01]", false},
};

absl::Status TakeDuration(const std::string& text, const char* field, json* question) {
  if (text.empty()) return absl::OkStatus();
  absl::Duration duration;
  if (!absl::ParseDuration(text, &duration) || duration < absl::Milliseconds(1) ||
      duration > absl::Hours(24 * 90)) {
    return absl::InvalidArgumentError("'" + text + "' is no time: write 30s, 10m or 1h");
  }
  (*question)[field] = absl::ToInt64Milliseconds(duration);
  return absl::OkStatus();
}

int Ask(const RolloutOptions& options, const json& question) {
  const absl::StatusOr<json> answer = AskAdmin(options.socket, question, kAnswerMs);
  if (!answer.ok()) {
    const int code = Fail(answer.status());
    return absl::IsFailedPrecondition(answer.status()) ? kExitNo : code;
  }
  if (options.as_json) {
    std::cout << answer->dump(-1, ' ', false, json::error_handler_t::replace) << "\n";
    return kExitGood;
  }
  const absl::StatusOr<std::string> report = RenderRollouts(*answer, /*running=*/false);
  if (!report.ok()) return Fail(report.status());
  std::cout << *report;
  return kExitGood;
}

json Question(const RolloutOptions& options, const char* action) {
  json question = {{"verb", "rollout"}, {"action", action}};
  if (!options.name.empty()) question["name"] = options.name;
  if (!options.why.empty()) question["why"] = options.why;
  return question;
}

int Start(const RolloutOptions& options) {
  json question = Question(options, "start");
  question["to"] = options.to;
  if (!options.from.empty()) question["from"] = options.from;
  if (!options.model.empty()) question["model"] = options.model;
  if (!options.steps.empty()) question["steps"] = options.steps;
  for (const auto& [text, field] :
       {std::pair(options.every, "every_ms"), std::pair(options.patience, "patience_ms")}) {
    if (const absl::Status taken = TakeDuration(text, field, &question); !taken.ok()) {
      Fail(taken);
      return kExitBadUsage;
    }
  }
  if (options.shadow_first) question["shadow_first"] = true;
  if (options.no_compare) question["compare"] = false;
  if (!options.limits.empty()) question["limits"] = options.limits;
  return Ask(options, question);
}

void AddStart(CLI::App* rollout, const std::shared_ptr<RolloutOptions>& options, int* exit_code) {
  CLI::App* start = rollout->add_subcommand("start", "Begin; the version is taken back by itself");
  start->add_option("name", options->name, "The route: a model, or an alias")->required();
  start->add_option("--to", options->to, "The version that shall have all requests")->required();
  start->add_option("--from", options->from, "The version that has them; else as the route says");
  start->add_option("--model", options->model, "Of an alias without a route: its model");
  start->add_option("--steps", options->steps, "Percent of the requests [1,5,25,50,100]")
      ->delimiter(',');
  start->add_option("--every", options->every, "How long a step lasts: 30s, 10m, 1h [10m]");
  start->add_option("--patience", options->patience,
                    "Beyond that, for what a step still lacks [three times as long]");
  start->add_flag("--shadow-first", options->shadow_first,
                  "Before the first step the version only gets copies");
  start->add_flag("--no-compare", options->no_compare, "No copies, and nothing is compared");
  for (const LimitFlag& limit : kLimitFlags) {
    start
        ->add_option_function<double>(
            limit.flag,
            [options, limit](double value) {
              if (limit.count) {
                options->limits[limit.field] = static_cast<int64_t>(value);
              } else {
                options->limits[limit.field] = value;
              }
            },
            limit.help)
        ->check(CLI::NonNegativeNumber);
  }
  start->callback([=] { *exit_code = Start(*options); });
}

}  // namespace

void AddRollout(CLI::App* app, int* exit_code) {
  auto options = std::make_shared<RolloutOptions>();
  CLI::App* rollout = app->add_subcommand(
      "rollout", "Move a route to another version step by step; taken back if it is worse");
  rollout->require_subcommand(1);
  AddStart(rollout, options, exit_code);
  CLI::App* status = rollout->add_subcommand("status", "Where rollouts stand, and why");
  status->add_option("name", options->name, "Only of this route");
  status->callback([=] { *exit_code = Ask(*options, Question(*options, "status")); });
  const std::pair<const char*, const char*> kByHand[] = {
      {"pause", "Go no further by itself; a worse version is still taken back"},
      {"resume", "Go on, with this step from its beginning"},
      {"promote", "All requests to the new version, now"},
      {"abort", "The route as it was before, now"},
  };
  for (const auto& [action, help] : kByHand) {
    CLI::App* by_hand = rollout->add_subcommand(action, help);
    by_hand->add_option("name", options->name, "The route")->required();
    const std::string verb = action;
    by_hand->callback([=] { *exit_code = Ask(*options, Question(*options, verb.c_str())); });
  }
  for (CLI::App* command : rollout->get_subcommands({})) {
    if (command != status) {
      command->add_option("--why", options->why, "Kept in the rollout's journal");
    }
    command->add_option("--admin-socket", options->socket, "The server's admin socket")
        ->capture_default_str();
    command->add_flag("--json", options->as_json, "The whole answer, as JSON");
  }
}

}  // namespace millrace
