#include "services/registry/rollout/step_route.h"

#include "absl/strings/str_cat.h"

namespace millrace {
namespace {

bool TakesAll(const RouteRule& rule) {
  return rule.headers_size() == 0 && rule.path().empty() && rule.tenants_size() == 0;
}

const RouteRule* RuleForAll(const NamedRoute& route) {
  for (const RouteRule& rule : route.rules()) {
    if (TakesAll(rule)) return &rule;
  }
  return nullptr;
}

void AddTarget(const RolloutPlan& plan, const std::string& version, uint32_t parts,
               RouteRule* rule) {
  if (parts == 0) return;
  RouteTarget* target = rule->add_targets();
  target->set_model(plan.model);
  target->set_version(version);
  target->set_weight(parts);
}

}  // namespace

absl::StatusOr<std::optional<RouteTarget>> FromOf(const std::optional<NamedRoute>& route) {
  const RouteRule* rule = route.has_value() ? RuleForAll(*route) : nullptr;
  std::optional<RouteTarget> from;
  if (rule == nullptr) return from;
  for (const RouteTarget& target : rule->targets()) {
    if (target.weight() == 0) continue;
    if (from.has_value()) {
      return absl::FailedPreconditionError(
          absl::StrCat("the route '", route->name(), "' splits its requests already: versions ",
                       from->version(), " and ", target.version()));
    }
    from = target;
  }
  return from;
}

NamedRoute StepRoute(const RolloutPlan& plan, const std::optional<NamedRoute>& before,
                     uint32_t parts) {
  NamedRoute route;
  if (before.has_value()) route = *before;
  route.set_name(plan.name);
  RouteRule* rule = nullptr;
  for (RouteRule& known : *route.mutable_rules()) {
    if (rule == nullptr && TakesAll(known)) rule = &known;
  }
  if (rule == nullptr) rule = route.add_rules();
  rule->clear_targets();
  // The baseline first: with two targets a client's key only ever moves to the one that grows.
  AddTarget(plan, plan.from, kRolloutParts - parts, rule);
  AddTarget(plan, plan.to, parts, rule);
  std::vector<ShadowTarget> others;
  for (const ShadowTarget& shadow : rule->shadows()) {
    const bool ours = shadow.model() == plan.model &&
                      (shadow.version() == plan.from || shadow.version() == plan.to);
    if (!ours) others.push_back(shadow);
  }
  rule->clear_shadows();
  for (const ShadowTarget& other : others) *rule->add_shadows() = other;
  if (!plan.compare || parts == kRolloutParts) return route;
  ShadowTarget* shadow = rule->add_shadows();
  shadow->set_model(plan.model);
  shadow->set_version(parts == 0 ? plan.to : plan.from);
  shadow->set_parts(kRolloutParts);
  shadow->set_beside_version(parts == 0 ? plan.from : plan.to);
  return route;
}

}  // namespace millrace
