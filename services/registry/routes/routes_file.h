// routes.yaml to Routes (ipc/routes.proto) and back.
//
// Purpose: the form of the file and what can be said of it without the catalog. Who may call: any
//   thread.
// Invariants: 1. WriteRoutes' text reads back as the same routes. 2. The last line of a file is
//   `...`, so that one that was cut short is never taken for whole. 3. Weights of a rule sum up to
//   10,000 parts; a rule without targets has none.
// What fails: what is wrong with the text, every fault with its line and field.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/config.h"
#include "ipc/routes.pb.h"

namespace millrace {

inline constexpr uint32_t kAllParts = 10'000;

struct RoutesResult {
  Routes routes;  // without a generation
  std::vector<ConfigFault> faults;
};
RoutesResult ReadRoutes(std::string_view yaml);

// One rule of the route of this name, as JSON or YAML.
struct RuleResult {
  RouteRule rule;
  std::vector<ConfigFault> faults;
};
RuleResult ReadRule(std::string_view yaml, const std::string& route_name);

std::string WriteRoutes(const Routes& routes);
// One route as one line of JSON, and the rules of one as the file has them.
std::string RouteJson(const NamedRoute& route);

}  // namespace millrace
