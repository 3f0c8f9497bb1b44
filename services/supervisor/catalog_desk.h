// The catalog that new workers are sent, and what was ever given out.
//
// Purpose: keep the last published catalog with its plans, refuse one that goes back, and tell a
//   restarted registry where to go on. Who may call: the supervisor's main thread.
// Ownership: holds the descriptors for as long as the catalog is the current one.
// Invariants: 1. generations grow. 2. first_route and first_generation lie beyond everything ever
//   seen. 3. What is kept was parsed once and is sealed against change.
// What fails: Take, with INVALID_ARGUMENT and the field; nothing is changed then.
#pragma once

#include <stdint.h>

#include "absl/status/status.h"
#include "ipc/catalog.pb.h"
#include "ipc/control.pb.h"
#include "services/supervisor/hands.h"

namespace millrace {

class CatalogDesk {
 public:
  // `fds`: the catalog, then one plan for each of `plan_routes`.
  absl::Status Take(const PublishCatalog& published, FdList fds);

  // What an earlier supervisor's desk said of routes; its catalog is taken by Take.
  void GoOnFrom(uint32_t first_route) { first_route_ = first_route; }
  // The catalog as it was published, and its descriptors in order.
  PublishCatalog Published() const;
  const FdList& fds() const { return fds_; }

  bool has_catalog() const { return !fds_.empty(); }
  uint64_t generation() const { return catalog_.generation(); }
  const Catalog& catalog() const { return catalog_; }
  uint64_t plan_bytes() const { return plan_bytes_; }
  uint32_t first_route() const { return first_route_; }
  uint64_t first_generation() const { return catalog_.generation() + 1; }

  // The update for a stage, with its descriptors: plans go to execution only.
  CatalogUpdate UpdateFor(Stage stage) const;
  FdList FdsFor(Stage stage) const;

 private:
  Catalog catalog_;
  std::vector<uint32_t> plan_routes_;
  FdList fds_;
  uint32_t first_route_ = 1;
  uint64_t plan_bytes_ = 0;
};

}  // namespace millrace
