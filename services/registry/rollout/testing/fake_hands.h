// A controller's world without files, processes or time.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "services/registry/rollout/controller.h"

namespace millrace {

struct FakeHands : RolloutHands {
  int64_t NowNs() override { return now_ns; }
  int64_t WallMs() override { return 1'700'000'000'000 + now_ns / kNanosPerMilli; }
  std::optional<NamedRoute> RouteNow(const std::string& name) override {
    const auto found = routes.find(name);
    return found == routes.end() ? std::nullopt : std::optional<NamedRoute>(found->second);
  }
  absl::Status SetRoute(const std::string& name, const std::optional<NamedRoute>& route,
                        const std::string& who, const std::string& why) override {
    if (!routes_fail.empty()) return absl::UnavailableError(routes_fail);
    if (route.has_value()) {
      routes[name] = *route;
    } else {
      routes.erase(name);
    }
    changes.emplace_back(who, why);
    return absl::OkStatus();
  }
  bool Serves(const std::string& model, const std::string& version) override {
    return served.count({model, version}) > 0;
  }
  std::string LatestOf(const std::string&) override { return latest; }
  absl::Status MayGrow(const std::string&, const std::string& version) override {
    if (version != too_old) return absl::OkStatus();
    return absl::FailedPreconditionError("version " + version + " is read-only");
  }
  void Watch(const WatchVersions& versions) override { watched = versions; }
  absl::Status Save(const std::string& text) override {
    if (disk_full) return absl::UnavailableError("the disk is full");
    saved = text;
    return absl::OkStatus();
  }

  // Parts of 10,000 that the route gives a version, in the rule for all.
  uint32_t PartsOf(const std::string& name, const std::string& version) {
    const std::optional<NamedRoute> route = RouteNow(name);
    if (!route.has_value()) return version == latest ? kRolloutParts : 0;
    for (const RouteTarget& target : route->rules(route->rules_size() - 1).targets()) {
      if (target.version() == version) return target.weight();
    }
    return 0;
  }

  int64_t now_ns = kNanosPerSecond;
  std::map<std::string, NamedRoute> routes;
  std::set<std::pair<std::string, std::string>> served = {{"churn", "1"}, {"churn", "2"}};
  std::string latest = "2", too_old;
  WatchVersions watched;
  std::string saved, routes_fail;
  bool disk_full = false;
  std::vector<std::pair<std::string, std::string>> changes;  // who, why
};

}  // namespace millrace
