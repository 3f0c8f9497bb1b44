// The whole repository to one catalog with its plans.
//
// Purpose: load every model, keep what fails from hurting the rest, and give out routes.
// Who may call: one thread. Ownership: keeps the last build with its plans; a returned pointer is
//   valid until the next Build.
// Invariants:
//   1. Generations grow with every build. A route is given to one model version, for ever: what a
//      new build finds unchanged (signature, view, members and plan, byte for byte) keeps its
//      route, everything else gets a fresh one.
//   2. A catalog is closed: each member's route is a plain model of it; each name that has a
//   version
//      that can be served has exactly one that is `latest`, the highest of these.
//   3. Plain models stand before ensembles, each sorted by name and version.
//   4. At most kMaxPlans plans, so that a catalog fits one control message.
// What fails: Build, where the repository itself cannot be read (the last build stays); a model
//   that fails is in the catalog's `failed`, with its reason.
#pragma once

#include <stdint.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "ipc/catalog.pb.h"
#include "ipc/control_channel.h"
#include "services/registry/model_loader.h"

namespace millrace {

struct BuiltCatalog {
  Catalog catalog;
  std::map<uint32_t, Fd> plans;  // by route
};

class CatalogBuilder {
 public:
  static constexpr size_t kMaxPlans = ControlChannel::kMaxFds - 1;

  // The first route and the first generation that were not given out yet.
  CatalogBuilder(LoaderOptions options, uint32_t first_route, uint64_t first_generation);

  absl::StatusOr<const BuiltCatalog*> Build(const std::string& root);

 private:
  LoaderOptions options_;
  uint32_t next_route_;
  uint64_t next_generation_;
  BuiltCatalog last_;
};

}  // namespace millrace
