// `millrace route`: which version answers which request.
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tools/millrace/admin_client.h"
#include "tools/millrace/commands.h"
#include "tools/millrace/route_report.h"

namespace millrace {
namespace {

using nlohmann::json;

constexpr int64_t kAnswerMs = 30'000;

struct RouteOptions {
  std::string socket = DefaultAdminSocket();
  bool as_json = false;
  std::string name, version, share, why, model, beside, rule_file;
  std::vector<std::string> to, headers, tenants, fallbacks, shadows;
  std::string path, label, constant;
};

int Ask(const RouteOptions& options, json question) {
  question["verb"] = "route";
  if (!options.name.empty()) question["name"] = options.name;
  if (!options.why.empty()) question["why"] = options.why;
  const absl::StatusOr<json> answer = AskAdmin(options.socket, question, kAnswerMs);
  if (!answer.ok()) {
    const int code = Fail(answer.status());
    return absl::IsFailedPrecondition(answer.status()) ? kExitNo : code;
  }
  const std::string message = answer->value("message", "");
  if (!message.empty()) std::cerr << "millrace: " << message << "\n";
  if (options.as_json) {
    std::cout << answer->dump(-1, ' ', false, json::error_handler_t::replace) << "\n";
    return kExitGood;
  }
  const absl::StatusOr<std::string> report = RenderRoutes(*answer, options.name);
  if (!report.ok()) return Fail(report.status());
  std::cout << *report;
  return kExitGood;
}

// "3" or "3=95", with the key that the number behind the sign has.
bool TakeVersion(const std::string& text, const char* number, json* out) {
  const size_t sign = text.find('=');
  int64_t version = 0;
  if (!absl::SimpleAtoi(text.substr(0, sign), &version)) return false;
  (*out)["version"] = version;
  if (sign == std::string::npos) return true;
  double value = 0;
  if (!absl::SimpleAtod(text.substr(sign + 1), &value)) return false;
  (*out)[number] = value;
  return true;
}

absl::StatusOr<json> RuleOf(const RouteOptions& options) {
  json rule = json::object();
  if (!options.rule_file.empty()) {
    std::ifstream file(options.rule_file);
    std::stringstream text;
    text << file.rdbuf();
    rule = json::parse(text.str(), nullptr, /*allow_exceptions=*/false);
    if (!file || !rule.is_object()) {
      return absl::InvalidArgumentError(options.rule_file + ": is no file with a JSON object");
    }
    return rule;
  }
  if (!options.label.empty()) rule["label"] = options.label;
  if (!options.path.empty()) rule["path"] = options.path;
  for (const std::string& tenant : options.tenants) rule["tenants"].push_back(tenant);
  for (const std::string& header : options.headers) {
    const size_t sign = header.find('=');
    if (sign == std::string::npos) return absl::InvalidArgumentError("--header: NAME=VALUE");
    rule["headers"].push_back(
        {{"name", header.substr(0, sign)}, {"value", header.substr(sign + 1)}});
  }
  for (const auto& [list, name, number] :
       {std::tuple{&options.to, "to", "weight"}, {&options.shadows, "shadows", "share"}}) {
    for (const std::string& text : *list) {
      json one = json::object();
      if (!TakeVersion(text, number, &one)) {
        return absl::InvalidArgumentError(absl::StrCat("'", text, "': VERSION or VERSION=PERCENT"));
      }
      if (!options.model.empty()) one["model"] = options.model;
      rule[name].push_back(std::move(one));
    }
  }
  for (const std::string& text : options.fallbacks) {
    const size_t slash = text.find('/');
    json one = json::object();
    if (!TakeVersion(slash == std::string::npos ? text : text.substr(slash + 1), "", &one)) {
      return absl::InvalidArgumentError("--fallback: VERSION or MODEL/VERSION");
    }
    if (slash != std::string::npos) {
      one["model"] = text.substr(0, slash);
    } else if (!options.model.empty()) {
      one["model"] = options.model;
    }
    rule["fallbacks"].push_back(std::move(one));
  }
  if (!options.constant.empty()) {
    const json outputs = json::parse(options.constant, nullptr, /*allow_exceptions=*/false);
    if (!outputs.is_array()) {
      return absl::InvalidArgumentError("--constant: the outputs of one row, as a JSON array");
    }
    rule["fallbacks"].push_back({{"constant", outputs}});
  }
  return rule;
}

int Set(const RouteOptions& options) {
  const absl::StatusOr<json> rule = RuleOf(options);
  if (!rule.ok()) {
    Fail(rule.status());
    return kExitBadUsage;
  }
  return Ask(options, {{"action", "set"}, {"rule", *rule}});
}

// Of canary and shadow.
int Share(const RouteOptions& options, const char* action) {
  double share = 0;
  if (!absl::SimpleAtod(options.share, &share)) {
    Fail(absl::InvalidArgumentError("share: per cent"));
    return kExitBadUsage;
  }
  json question = {{"action", action}, {"version", options.version}, {"share", share}};
  if (!options.model.empty()) question["model"] = options.model;
  if (!options.beside.empty()) question["beside"] = options.beside;
  return Ask(options, question);
}

CLI::App* AddOne(CLI::App* route, const char* name, const char* help, RouteOptions* options,
                 bool changes) {
  CLI::App* command = route->add_subcommand(name, help);
  command->add_option("--admin-socket", options->socket, "The server's admin socket")
      ->capture_default_str();
  command->add_flag("--json", options->as_json, "As JSON");
  if (!changes) return command;
  command->add_option("name", options->name, "The model or alias that clients ask for")->required();
  command->add_option("--why", options->why, "Kept with the change");
  return command;
}

void AddSet(CLI::App* route, const std::shared_ptr<RouteOptions>& options, int* exit_code) {
  CLI::App* set =
      AddOne(route, "set", "Say where requests go, in place of the rule for the same requests",
             options.get(), true);
  set->add_option("--to", options->to, "VERSION, or VERSION=PERCENT for each of several");
  set->add_option("--model", options->model, "Whose versions these are, of an alias");
  set->add_option("--header", options->headers, "Only requests with NAME=VALUE");
  set->add_option("--path", options->path, "Only HTTP requests below this path: /staging");
  set->add_option("--tenant", options->tenants, "Only requests with this API key, by its name");
  set->add_option("--label", options->label, "For people");
  set->add_option("--shadow", options->shadows, "VERSION=PERCENT that is asked as well");
  set->add_option("--fallback", options->fallbacks,
                  "VERSION or MODEL/VERSION that answers where the target cannot");
  set->add_option("--constant", options->constant,
                  "The last fallback: outputs of one row as a JSON array");
  set->add_option("--rule", options->rule_file, "All of that as a JSON file, as in routes.yaml");
  set->callback([=] { *exit_code = Set(*options); });
}

void AddVersioned(CLI::App* route, const std::shared_ptr<RouteOptions>& options, int* exit_code) {
  CLI::App* canary =
      AddOne(route, "canary", "Give a version a share of the clients", options.get(), true);
  CLI::App* shadow =
      AddOne(route, "shadow", "Ask a version as well, and compare its answers; 0 per cent ends it",
             options.get(), true);
  for (CLI::App* command : {canary, shadow}) {
    command->add_option("version", options->version, "Of the model")->required();
    command->add_option("share", options->share, "Per cent")->required();
    command->add_option("--model", options->model, "Whose version it is, of an alias");
  }
  shadow->add_option("--beside", options->beside, "Only of requests that this version answered");
  canary->callback([=] { *exit_code = Share(*options, "canary"); });
  shadow->callback([=] { *exit_code = Share(*options, "shadow"); });
  CLI::App* promote =
      AddOne(route, "promote", "Give a version, or the canary, all clients", options.get(), true);
  promote->add_option("version", options->version, "Left out: the canary");
  promote->callback([=] {
    json question = {{"action", "promote"}};
    if (!options->version.empty()) question["version"] = options->version;
    *exit_code = Ask(*options, question);
  });
}

}  // namespace

void AddRoute(CLI::App* app, int* exit_code) {
  auto options = std::make_shared<RouteOptions>();
  CLI::App* route = app->add_subcommand("route", "Show and change which version answers");
  route->require_subcommand(1);
  CLI::App* list =
      AddOne(route, "list", "Show the routes, and who changed them last", options.get(), false);
  list->callback([=] { *exit_code = Ask(*options, {{"action", "list"}}); });
  CLI::App* history =
      AddOne(route, "history", "Show the changes, the last one first", options.get(), false);
  history->add_option("name", options->name, "Of this route alone");
  history->callback([=] { *exit_code = Ask(*options, {{"action", "history"}}); });
  AddSet(route, options, exit_code);
  AddVersioned(route, options, exit_code);
  CLI::App* rollback =
      AddOne(route, "rollback", "Back to the route before its last change", options.get(), true);
  rollback->callback([=] { *exit_code = Ask(*options, {{"action", "rollback"}}); });
  CLI::App* remove =
      AddOne(route, "remove", "No route: the latest version answers", options.get(), true);
  remove->callback([=] { *exit_code = Ask(*options, {{"action", "remove"}}); });
}

}  // namespace millrace
