#include "services/supervisor/catalog_desk.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "ipc/memfd.h"
#include "services/supervisor/stage_table.h"

namespace millrace {
namespace {

constexpr size_t kMaxCatalogBytes = 64 << 20;

absl::StatusOr<Catalog> ReadCatalog(int fd) {
  const auto map = MapImmutable(fd, kMaxCatalogBytes);
  if (!map.ok()) return map.status();
  Catalog catalog;
  if (!catalog.ParseFromArray(map->get_address(), static_cast<int>(map->get_size()))) {
    return absl::InvalidArgumentError("catalog: cannot be parsed");
  }
  return catalog;
}

}  // namespace

absl::Status CatalogDesk::Hold(const PublishCatalog& published, FdList fds) {
  const size_t plans = published.plan_routes_size();
  if (fds.size() != plans + 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("plan_routes: ", plans, " plans, and ", fds.size(), " descriptors"));
  }
  absl::StatusOr<Catalog> catalog = ReadCatalog(fds[0]->get());
  if (!catalog.ok()) return catalog.status();
  if (catalog->generation() != published.generation()) {
    return absl::InvalidArgumentError("generation: message and catalog differ");
  }
  if (catalog->generation() < first_generation()) {
    return absl::InvalidArgumentError(absl::StrCat("generation: ", catalog->generation(),
                                                   " does not follow ", last_said().generation()));
  }
  for (const Model& model : catalog->models()) {
    first_route_ = std::max(first_route_, model.route() + 1);
  }
  waiting_ = Waiting();
  for (size_t i = 1; i < fds.size(); ++i) {
    struct stat info;
    if (fstat(fds[i]->get(), &info) == 0) waiting_.plan_bytes += info.st_size;
  }
  waiting_.kept = {catalog->generation(),
                   {published.plan_routes().begin(), published.plan_routes().end()},
                   std::move(fds)};
  waiting_.catalog = std::move(*catalog);
  return absl::OkStatus();
}

uint64_t CatalogDesk::Take(bool newest_was_live) {
  MR_CHECK(has_waiting(), "a catalog is taken once it was held");
  Kept replaced = std::exchange(newest_, std::move(waiting_.kept));
  if (newest_was_live || former_.fds.empty()) std::swap(former_, replaced);
  catalog_ = std::move(waiting_.catalog);
  plan_bytes_ = waiting_.plan_bytes;
  waiting_ = Waiting();
  return replaced.generation;
}

PublishCatalog CatalogDesk::Kept::Published() const {
  PublishCatalog published;
  published.set_generation(generation);
  for (uint32_t route : plan_routes) published.add_plan_routes(route);
  return published;
}

CatalogUpdate CatalogDesk::Kept::UpdateFor(Stage stage) const {
  CatalogUpdate update;
  update.set_generation(generation);
  if (RowOf(stage).gets_plans) {
    for (uint32_t route : plan_routes) update.add_plan_routes(route);
  }
  return update;
}

FdList CatalogDesk::Kept::FdsFor(Stage stage) const {
  return RowOf(stage).gets_plans ? fds : FdList{fds[0]};
}

}  // namespace millrace
