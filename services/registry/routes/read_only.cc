#include "services/registry/routes/read_only.h"

#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "services/registry/routes/route_command.h"
#include "services/registry/routes/routes_check.h"

namespace millrace {
namespace {

using Version = std::pair<std::string, std::string>;  // model, version

struct Shares {
  std::map<Version, uint64_t> weights;
  uint64_t sum = 0;

  void Add(const std::string& model, const std::string& version, uint64_t weight) {
    weights[{model, version}] += weight;
    sum += weight;
  }
  uint64_t Of(const Version& version) const {
    const auto found = weights.find(version);
    return found == weights.end() ? 0 : found->second;
  }
};

const RouteRule* FindRule(const std::optional<NamedRoute>& route, const RouteRule& like) {
  if (!route.has_value()) return nullptr;
  for (const RouteRule& rule : route->rules()) {
    if (SameConditions(rule, like)) return &rule;
  }
  return nullptr;
}

// Who answers the requests that `like` is for.
Shares SharesOf(const std::string& name, const std::optional<NamedRoute>& route,
                const RouteRule& like, const Catalog& catalog) {
  const RouteRule* rule = FindRule(route, like);
  if (rule == nullptr) rule = FindRule(route, RouteRule());
  Shares shares;
  if (rule != nullptr && rule->targets_size() > 0) {
    for (const RouteTarget& target : rule->targets()) {
      shares.Add(target.model(), target.version(), target.weight());
    }
  } else if (const Model* const latest = FindLatest(catalog, name)) {
    shares.Add(latest->name(), latest->version(), 1);
  }
  return shares;
}

double Percent(uint64_t weight, uint64_t sum) {
  return sum == 0 ? 0 : static_cast<double>(weight * 10'000 / sum) / 100;
}

}  // namespace

absl::Status ReadOnlyCheck::MayGrow(const std::string& model, const std::string& version) const {
  const Model* const known = FindVersion(catalog_, model, version);
  if (known == nullptr || !IsReadOnly(catalog_, *known, limits_, now_s_)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("version ", version, " of model '", model, "' is read-only: its weights are ",
                   WeightsAgeDays(catalog_, *known, now_s_), " days old, more than ",
                   limits_.max_age_days, " (registry.max_age_days)"));
}

absl::Status ReadOnlyCheck::MayChange(const std::string& name,
                                      const std::optional<NamedRoute>& before,
                                      const std::optional<NamedRoute>& after) const {
  std::vector<RouteRule> conditions = {RouteRule()};
  for (const std::optional<NamedRoute>* route : {&before, &after}) {
    if (!route->has_value()) continue;
    conditions.insert(conditions.end(), (*route)->rules().begin(), (*route)->rules().end());
  }
  for (const RouteRule& rule : conditions) {
    const Shares then = SharesOf(name, before, rule, catalog_);
    const Shares now = SharesOf(name, after, rule, catalog_);
    for (const auto& [version, weight] : now.weights) {
      const uint64_t had = then.Of(version);
      const bool grows = then.sum == 0 ? weight > 0 : weight * then.sum > had * now.sum;
      if (!grows) continue;
      const absl::Status may = MayGrow(version.first, version.second);
      if (may.ok()) continue;
      return absl::FailedPreconditionError(
          absl::StrCat(may.message(), ", and route '", name, "' would give it ",
                       Percent(weight, now.sum), " per cent instead of ", Percent(had, then.sum),
                       " (millrace route rollback is never refused)"));
    }
  }
  return absl::OkStatus();
}

std::vector<std::string> ReadOnlyCheck::Faults(const Routes& before, const Routes& after) const {
  std::set<std::string> names;
  std::map<std::string, NamedRoute> then, now;
  for (const NamedRoute& route : before.routes()) then[route.name()] = route;
  for (const NamedRoute& route : after.routes()) now[route.name()] = route;
  for (const auto* routes : {&then, &now}) {
    for (const auto& [name, route] : *routes) names.insert(name);
  }
  const auto find = [](const std::map<std::string, NamedRoute>& in, const std::string& name) {
    const auto found = in.find(name);
    return found == in.end() ? std::optional<NamedRoute>() : found->second;
  };
  std::vector<std::string> faults;
  for (const std::string& name : names) {
    const absl::Status may = MayChange(name, find(then, name), find(now, name));
    if (!may.ok()) faults.emplace_back(may.message());
  }
  return faults;
}

}  // namespace millrace
