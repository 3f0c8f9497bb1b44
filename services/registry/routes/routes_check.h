// Routes held against the catalog: whether every version that they name is there and fits.
//
// Purpose: a switch to what cannot answer is refused before it is one. Who may call: any thread;
//   nothing is kept.
// Invariants: 1. Every fault is a sentence that names the route and the rule; all come at once.
//   2. `missing`: what is wrong only because a version is not loaded now; it may be again.
// Nothing fails.
#pragma once

#include <string>
#include <vector>

#include "ipc/catalog.pb.h"
#include "ipc/routes.pb.h"

namespace millrace {

struct RouteFaults {
  std::vector<std::string> wrong;
  std::vector<std::string> missing;

  bool none() const { return wrong.empty() && missing.empty(); }
};

void CheckRoute(const NamedRoute& route, const Catalog& catalog, RouteFaults* faults);
RouteFaults CheckRoutes(const Routes& routes, const Catalog& catalog);

const Model* FindVersion(const Catalog& catalog, const std::string& model,
                         const std::string& version);
// The one that answers without a version; null: the model is not served.
const Model* FindLatest(const Catalog& catalog, const std::string& model);

}  // namespace millrace
