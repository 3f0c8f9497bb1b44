#include "services/registry/routes/route_command.h"

#include <math.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "services/registry/routes/routes_check.h"
#include "services/registry/routes/routes_file.h"
#include "services/registry/text.h"

namespace millrace {
namespace {

using Json = nlohmann::json;
using Action = RouteCommand::Action;

constexpr const char* kActions[] = {"list",    "history",  "set",    "canary",
                                    "promote", "rollback", "shadow", "remove"};
constexpr size_t kMaxWhy = 500;

absl::Status Bad(const std::string& what) { return absl::InvalidArgumentError(what); }

absl::Status TakeText(const Json& json, const char* name, size_t most, std::string* out) {
  const auto found = json.find(name);
  if (found == json.end()) return absl::OkStatus();
  if (!found->is_string()) return Bad(absl::StrCat(name, ": must be a string"));
  *out = found->get<std::string>();
  if (out->size() <= most && IsUtf8(*out)) return absl::OkStatus();
  return Bad(absl::StrCat(name, ": must be UTF-8, at most ", most, " bytes"));
}

absl::Status TakeVersion(const Json& json, const char* name, std::string* out) {
  if (absl::Status taken = TakeText(json, name, 9, out); !taken.ok()) return taken;
  const bool number =
      std::all_of(out->begin(), out->end(), [](char c) { return c >= '0' && c <= '9'; });
  if (out->empty() || (number && (*out)[0] != '0')) return absl::OkStatus();
  return Bad(absl::StrCat(name, ": must be the number of a version"));
}

absl::Status TakeShare(const Json& json, RouteCommand* command) {
  const auto share = json.find("share");
  if (share == json.end()) return absl::OkStatus();
  const double parts = share->is_number() ? share->get<double>() * 100 : -1;
  if (!(parts >= 0 && parts <= kAllParts) || fabs(parts - round(parts)) > 1e-6) {
    return Bad("share: must be per cent, from 0 to 100, to two decimals");
  }
  command->parts = static_cast<uint32_t>(lround(parts));
  return absl::OkStatus();
}

absl::Status TakeRule(const Json& json, RouteCommand* command) {
  const auto rule = json.find("rule");
  if (rule == json.end() || !rule->is_object()) return Bad("rule: must be an object");
  RuleResult read =
      ReadRule(rule->dump(-1, ' ', false, Json::error_handler_t::replace), command->name);
  if (!read.faults.empty()) {
    std::string sentence;
    for (const ConfigFault& fault : read.faults) {
      absl::StrAppend(&sentence, sentence.empty() ? "" : "; ", fault.field, " ", fault.message);
    }
    return Bad(sentence);
  }
  command->rule = std::move(read.rule);
  return absl::OkStatus();
}

absl::Status Complete(const Json& json, const RouteCommand& command) {
  const bool names = command.changes();
  if ((names || !command.name.empty()) && !IsPlainName(command.name)) {
    return Bad("name: must be the name of a model or an alias");
  }
  const bool versioned = command.action == Action::kCanary || command.action == Action::kShadow;
  if (versioned && command.version.empty()) return Bad("version: is missing");
  if (versioned && !json.contains("share")) return Bad("share: is missing");
  return absl::OkStatus();
}

bool IsDefault(const RouteRule& rule) {
  return rule.headers().empty() && rule.path().empty() && rule.tenants().empty();
}

// The rule that takes every request, made where there is none.
RouteRule* DefaultRule(NamedRoute* route) {
  if (route->rules_size() == 0 || !IsDefault(*route->rules().rbegin())) route->add_rules();
  return route->mutable_rules(route->rules_size() - 1);
}

// What the command's version is one of.
std::string ModelOf(const RouteCommand& command, const RouteRule& rule) {
  if (!command.model.empty()) return command.model;
  return rule.targets().empty() ? command.name : rule.targets(0).model();
}

RouteTarget* FindTarget(RouteRule* rule, const std::string& model, const std::string& version) {
  for (RouteTarget& target : *rule->mutable_targets()) {
    if (target.model() == model && target.version() == version) return &target;
  }
  return nullptr;
}

RouteTarget* AddTarget(RouteRule* rule, const std::string& model, const std::string& version,
                       uint32_t weight) {
  RouteTarget* target = rule->add_targets();
  target->set_model(model);
  target->set_version(version);
  target->set_weight(weight);
  return target;
}

// A rule without targets goes to the latest version, which is named from now on.
absl::Status NameLatest(const std::string& model, const Catalog& catalog, RouteRule* rule) {
  if (!rule->targets().empty()) return absl::OkStatus();
  const Model* const latest = FindLatest(catalog, model);
  if (latest == nullptr) return absl::NotFoundError("no model '" + model + "' is loaded");
  AddTarget(rule, model, latest->version(), kAllParts);
  return absl::OkStatus();
}

absl::Status Canary(const RouteCommand& command, const Catalog& catalog, RouteRule* rule) {
  const std::string model = ModelOf(command, *rule);
  if (absl::Status named = NameLatest(model, catalog, rule); !named.ok()) return named;
  RouteTarget* canary = FindTarget(rule, model, command.version);
  if (canary == nullptr) canary = AddTarget(rule, model, command.version, 0);
  RouteTarget* const first = rule->mutable_targets(0);
  if (canary == first) {
    return Bad(absl::StrCat("version ", command.version,
                            " is the first of the route, who gives to the others"));
  }
  const int64_t left = int64_t{first->weight()} + canary->weight() - command.parts;
  if (left < 0) {
    return Bad(absl::StrCat("share: the first of the route has only ",
                            (first->weight() + canary->weight()) / 100.0, " per cent to give"));
  }
  canary->set_weight(command.parts);
  first->set_weight(static_cast<uint32_t>(left));
  return absl::OkStatus();
}

template <typename Field, typename Is>
void EraseIf(Field* field, const Is& is) {
  field->erase(std::remove_if(field->begin(), field->end(), is), field->end());
}

absl::Status Promote(const RouteCommand& command, RouteRule* rule) {
  const std::string model = ModelOf(command, *rule);
  std::string version = command.version;
  if (version.empty()) {
    if (rule->targets_size() != 2) return Bad("version: is missing, and no canary stands for it");
    version = rule->targets(1).version();
  }
  rule->clear_targets();
  AddTarget(rule, model, version, kAllParts);
  // It shadows nobody any more, and nobody falls back to what answers already.
  EraseIf(rule->mutable_shadows(), [&](const ShadowTarget& shadow) {
    const bool beside = !shadow.beside_version().empty() && shadow.beside_version() != version;
    return (shadow.model() == model && shadow.version() == version) || beside;
  });
  EraseIf(rule->mutable_fallbacks(), [&](const Fallback& fallback) {
    return fallback.has_target() && fallback.target().model() == model &&
           fallback.target().version() == version;
  });
  return absl::OkStatus();
}

absl::Status Shadow(const RouteCommand& command, RouteRule* rule) {
  const std::string model = ModelOf(command, *rule);
  const auto is_it = [&](const ShadowTarget& shadow) {
    return shadow.model() == model && shadow.version() == command.version;
  };
  const auto known = std::find_if(rule->shadows().begin(), rule->shadows().end(), is_it);
  if (command.parts == 0 && known == rule->shadows().end()) {
    return absl::NotFoundError("version: is in no shadow of this route");
  }
  EraseIf(rule->mutable_shadows(), is_it);
  if (command.parts == 0) return absl::OkStatus();
  ShadowTarget* shadow = rule->add_shadows();
  shadow->set_model(model);
  shadow->set_version(command.version);
  shadow->set_parts(command.parts);
  shadow->set_beside_version(command.beside);
  return absl::OkStatus();
}

// In the place of the rule with the same conditions, else before the one that takes every request.
void Set(const RouteRule& rule, NamedRoute* route) {
  for (RouteRule& known : *route->mutable_rules()) {
    if (!SameConditions(known, rule)) continue;
    known = rule;
    return;
  }
  *route->add_rules() = rule;
  const int last = route->rules_size() - 1;
  if (last > 0 && IsDefault(route->rules(last - 1))) {
    route->mutable_rules()->SwapElements(last - 1, last);
  }
}

}  // namespace

bool SameConditions(const RouteRule& a, const RouteRule& b) {
  const auto conditions = [](const RouteRule& rule) {
    RouteRule only;
    *only.mutable_headers() = rule.headers();
    only.set_path(rule.path());
    *only.mutable_tenants() = rule.tenants();
    return only.SerializeAsString();
  };
  return conditions(a) == conditions(b);
}

const char* ActionName(Action action) { return kActions[static_cast<size_t>(action)]; }

absl::StatusOr<RouteCommand> ParseRouteCommand(const std::string& text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Bad("the command must be a JSON object");
  RouteCommand command;
  std::string action;
  absl::Status status = TakeText(json, "action", 32, &action);
  const auto* known = std::find(std::begin(kActions), std::end(kActions), action);
  if (status.ok() && known == std::end(kActions)) {
    return Bad("action: must be list, history, set, canary, promote, rollback, shadow or remove");
  }
  if (status.ok()) command.action = static_cast<Action>(known - std::begin(kActions));
  if (status.ok()) status = TakeText(json, "name", 128, &command.name);
  if (status.ok()) status = TakeText(json, "model", 128, &command.model);
  if (status.ok()) status = TakeText(json, "why", kMaxWhy, &command.why);
  if (status.ok()) status = TakeVersion(json, "version", &command.version);
  if (status.ok()) status = TakeVersion(json, "beside", &command.beside);
  if (status.ok()) status = TakeShare(json, &command);
  if (status.ok()) status = Complete(json, command);
  if (status.ok() && command.action == Action::kSet) status = TakeRule(json, &command);
  if (!status.ok()) return status;
  return command;
}

absl::StatusOr<std::optional<NamedRoute>> ApplyCommand(const RouteCommand& command,
                                                       const std::optional<NamedRoute>& before,
                                                       const Catalog& catalog) {
  NamedRoute route = before.value_or(NamedRoute());
  route.set_name(command.name);
  absl::Status status;
  switch (command.action) {
    case Action::kSet:
      Set(command.rule, &route);
      break;
    case Action::kCanary:
      status = Canary(command, catalog, DefaultRule(&route));
      break;
    case Action::kPromote:
      status = Promote(command, DefaultRule(&route));
      break;
    case Action::kShadow:
      status = Shadow(command, DefaultRule(&route));
      break;
    case Action::kRemove:
      if (!before.has_value()) {
        return absl::NotFoundError("there is no route '" + command.name + "'");
      }
      return std::optional<NamedRoute>();
    default:
      return absl::InternalError("this command changes nothing by itself");
  }
  if (!status.ok()) return status;
  return std::optional<NamedRoute>(std::move(route));
}

}  // namespace millrace
