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
//   5. Load reads one model again, and an ensemble's unloaded members; every other model stays as
//   it
//      was built last, whatever lies in the repository now. Only ensembles that name the model are
//      made anew from the definition that they were built from.
//   7. Where there is a budget (plan_budget.h) no catalog is made that would pass it. What has to
//   go
//      for it is left out of a catalog before, which is published and settled first, and then of
//      every later one until its model is loaded: it is in the catalog's `evicted`.
//   6. An unloaded model is left out of every later build until it is loaded, and is in the
//      catalog's `unloaded`.
// What fails: Build, where the repository itself cannot be read; Load and Unload with a sentence
// for
//   who asked. The last build stays then. A model that fails in Build is in the catalog's `failed`,
//   with its reason.
#pragma once

#include <stdint.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "ipc/catalog.pb.h"
#include "ipc/control_channel.h"
#include "services/registry/model_loader.h"
#include "services/registry/plan_budget.h"
#include "services/registry/reread.h"

namespace millrace {

struct BuiltModel {
  LoadedModel loaded;
  int64_t version = 0;
  ModelDefinition definition;
};

// What the repository has and the catalog shall not have.
struct LeftOut {
  std::set<std::string> unloaded;
  std::set<VersionName> evicted;
};

struct BuiltCatalog {
  Catalog catalog;
  std::map<uint32_t, Fd> plans;    // by route
  std::vector<BuiltModel> models;  // as the catalog's, without their plans
};

class CatalogBuilder {
 public:
  static constexpr size_t kMaxPlans = ControlChannel::kMaxFds - 1;

  // The first route and the first generation that were not given out yet.
  CatalogBuilder(LoaderOptions options, uint32_t first_route, uint64_t first_generation,
                 std::set<std::string> unloaded = {});

  struct Memory {
    BudgetRules rules;
    PlanBudget::AskUse use;
    // Publishes a catalog that makes room for the next.
    std::function<absl::Status(const BuiltCatalog& built)> publish;
  };
  void SetMemory(Memory memory, std::set<VersionName> evicted = {});

  // From now on others are served meanwhile: what is compiled gives way to them.
  void RunInBackground() { options_.compile.background = true; }

  absl::StatusOr<const BuiltCatalog*> Build(const std::string& root);
  // What changed, and what is gone; everything else stays as it was built last. What fails is stood
  // in for, as in Build.
  absl::StatusOr<const BuiltCatalog*> Update(const std::string& root, const Reread& reread);
  // NOT_FOUND: the repository has no such model; INVALID_ARGUMENT and others: why it, or an
  // ensemble that names it, cannot be served.
  absl::StatusOr<const BuiltCatalog*> Load(const std::string& root, const std::string& name);
  // NOT_FOUND: it is not there; FAILED_PRECONDITION: an ensemble needs it. Unloading what is
  // unloaded already is OK. `dependents`: of an ensemble, also the members that no other ensemble
  // needs.
  absl::StatusOr<const BuiltCatalog*> Unload(const std::string& root, const std::string& name,
                                             bool dependents);

 private:
  LoaderOptions options_;
  uint32_t next_route_;
  uint64_t next_generation_;
  // Reads again what `reread` names, or everything where it is null.
  struct Made {
    BuiltCatalog catalog;
    std::set<VersionName> evicts;
  };
  absl::StatusOr<Made> Make(const std::string& root, const Reread* reread, const LeftOut& left_out);
  // Makes room for it first, where it has to be made.
  absl::StatusOr<const BuiltCatalog*> Keep(const std::string& root, Made made);
  const BuiltCatalog* Take(BuiltCatalog built);
  // The names of an ensemble's members as it was built; none for another model.
  std::vector<std::string> MembersOf(const std::string& name) const;
  // A served ensemble that names `member`, apart from those in `but`; empty: none.
  std::string EnsembleThatNeeds(const std::string& member, const std::set<std::string>& but) const;

  BuiltCatalog last_;
  LeftOut left_out_;
  Memory memory_;
  PlanBudget budget_;
};

}  // namespace millrace
