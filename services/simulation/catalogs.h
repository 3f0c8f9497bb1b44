// What is served in a world, generation by generation.
//
// Purpose: catalogs of three models (with a view, without one, an ensemble of both) whose version
// is
//   their generation, so that an answer tells by which catalog it was made; and what is right.
// Who may call: the simulation's one thread. Ownership: keeps every catalog of the world.
// Invariants: 1. a generation's models have routes and salts of their own. Nothing fails but the
//   machine, which ends the process.
#pragma once

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "ipc/catalog.pb.h"
#include "services/supervisor/hands.h"

namespace millrace::sim {

inline constexpr char kViewModel[] = "viewed", kPlainModel[] = "plain", kEnsemble[] = "both";

class Catalogs {
 public:
  // What a registry publishes: descriptors of the catalog and of a plan for each of the routes.
  struct Published {
    std::shared_ptr<const Catalog> catalog;
    std::vector<uint32_t> plan_routes;
    FdList fds;
  };
  const Published& Make(uint64_t generation, uint32_t first_route);
  const Published* Find(uint64_t generation) const {
    const auto found = made_.find(generation);
    return found == made_.end() ? nullptr : &found->second;
  }
  const std::shared_ptr<const Catalog>& Get(uint64_t generation) const {
    return made_.at(generation).catalog;
  }

  static uint64_t ViewedSalt(uint64_t generation) { return 2 * generation; }
  static uint64_t PlainSalt(uint64_t generation) { return 2 * generation + 1; }

 private:
  std::map<uint64_t, Published> made_;
};

}  // namespace millrace::sim
