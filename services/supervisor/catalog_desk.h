// The catalog that new workers are sent, and what was ever given out.
//
// Purpose: keep the last published catalog with its plans, hold back the next one until it may be
//   given out, refuse one that goes back, and tell a restarted registry where to go on.
// Who may call: the supervisor's main thread.
// Ownership: holds the descriptors of the current catalog and of the one before it, as workers do,
//   and of one that waits.
// Invariants: 1. generations grow. 2. first_route and first_generation lie beyond everything ever
//   seen. 3. What is kept was parsed once and is sealed against change. 4. At most one waits: a
//   catalog says all that is served, so a later one stands for it.
// What fails: Hold, with INVALID_ARGUMENT and the field; nothing is changed then.
#pragma once

#include <stdint.h>

#include "absl/status/status.h"
#include "ipc/catalog.pb.h"
#include "ipc/control.pb.h"
#include "services/supervisor/hands.h"

namespace millrace {

class CatalogDesk {
 public:
  // `fds`: the catalog, then one plan for each of `plan_routes`. It waits until Take.
  absl::Status Hold(const PublishCatalog& published, FdList fds);
  bool has_waiting() const { return !waiting_.kept.fds.empty(); }
  // The one that waits becomes the newest. Without `newest_was_live` the one before the newest
  // stays beside it, since that is what requests go by. Returns the generation that is let go (0:
  // none).
  uint64_t Take(bool newest_was_live);

  // What an earlier supervisor's desk said of routes; its catalogs are held and taken again.
  void GoOnFrom(uint32_t first_route) { first_route_ = first_route; }

  bool has_catalog() const { return !newest_.fds.empty(); }
  uint64_t generation() const { return catalog_.generation(); }
  const Catalog& catalog() const { return catalog_; }
  uint64_t plan_bytes() const { return plan_bytes_; }
  uint32_t first_route() const { return first_route_; }
  uint64_t first_generation() const { return last_said().generation() + 1; }
  // What the registry published last, whether it waits or not.
  const Catalog& last_said() const { return has_waiting() ? waiting_.catalog : catalog_; }

  // A catalog as processes are sent it, with its descriptors.
  struct Kept {
    uint64_t generation = 0;
    std::vector<uint32_t> plan_routes;
    FdList fds;  // empty: there is none

    // For a stage: plans go to execution only.
    CatalogUpdate UpdateFor(Stage stage) const;
    FdList FdsFor(Stage stage) const;
    // As it was published, for a later supervisor.
    PublishCatalog Published() const;
  };
  const Kept& newest() const { return newest_; }
  // The one before it, by which requests may still go: who comes new needs both.
  const Kept& former() const { return former_; }

 private:
  struct Waiting {
    Catalog catalog;
    Kept kept;
    uint64_t plan_bytes = 0;
  };

  Catalog catalog_;
  Kept newest_, former_;
  Waiting waiting_;
  uint32_t first_route_ = 1;
  uint64_t plan_bytes_ = 0;
};

}  // namespace millrace
