#include "services/registry/needed_versions.h"

#include <map>
#include <string>

namespace millrace {

std::set<VersionName> NeededVersions(const Catalog& catalog, const std::vector<NamedRoute>& routes,
                                     const WatchVersions& watched) {
  std::map<std::string, std::string> latest;
  std::map<uint32_t, VersionName> by_route;
  std::set<VersionName> needed;
  for (const Model& model : catalog.models()) {
    if (model.latest()) latest[model.name()] = model.version();
    by_route[model.route()] = {model.name(), model.version()};
    for (const Member& member : model.members()) needed.insert(by_route[member.route()]);
  }
  const auto need = [&](const std::string& model, const std::string& version) {
    const auto newest = latest.find(model);
    if (!version.empty()) {
      needed.insert({model, version});
    } else if (newest != latest.end()) {
      needed.insert(*newest);
    }
  };
  for (const NamedRoute& route : routes) {
    need(route.name(), "");
    for (const RouteRule& rule : route.rules()) {
      for (const RouteTarget& target : rule.targets()) need(target.model(), target.version());
      for (const ShadowTarget& shadow : rule.shadows()) need(shadow.model(), shadow.version());
      for (const Fallback& fallback : rule.fallbacks()) {
        if (fallback.has_target()) need(fallback.target().model(), fallback.target().version());
      }
    }
  }
  for (const WatchVersions::Version& version : watched.versions()) {
    need(version.model(), version.version());
  }
  return needed;
}

}  // namespace millrace
