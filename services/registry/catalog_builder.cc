#include "services/registry/catalog_builder.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "services/registry/catalog_build.h"
#include "services/registry/text.h"

namespace millrace {

CatalogBuilder::CatalogBuilder(LoaderOptions options, uint32_t first_route,
                               uint64_t first_generation, std::set<std::string> unloaded)
    : options_(std::move(options)),
      next_route_(std::max(first_route, 1u)),
      next_generation_(std::max<uint64_t>(first_generation, 1)),
      left_out_{std::move(unloaded), {}} {}

void CatalogBuilder::SetMemory(Memory memory, std::set<VersionName> evicted) {
  memory_ = std::move(memory);
  budget_ = PlanBudget(memory_.rules, memory_.use);
  left_out_.evicted = std::move(evicted);
}

absl::StatusOr<CatalogBuilder::Made> CatalogBuilder::Make(const std::string& root,
                                                          const Reread* reread,
                                                          const LeftOut& left_out) {
  absl::StatusOr<Repository> repository = Repository::Open(root);
  if (!repository.ok()) return repository.status();
  Made made;
  absl::StatusOr<BuiltCatalog> built = BuildCatalog(*repository, options_, last_, reread, left_out,
                                                    &budget_, &next_route_, &made.evicts);
  if (!built.ok()) return built.status();
  made.catalog = std::move(*built);
  return made;
}

const BuiltCatalog* CatalogBuilder::Take(BuiltCatalog built) {
  last_ = std::move(built);
  last_.catalog.set_generation(next_generation_++);
  left_out_ = LeftOut();
  for (const std::string& name : last_.catalog.unloaded()) left_out_.unloaded.insert(name);
  for (const EvictedVersion& evicted : last_.catalog.evicted()) {
    left_out_.evicted.insert({evicted.name(), evicted.version()});
  }
  std::map<uint32_t, HeldPlan> plans;
  for (const Model& model : last_.catalog.models()) {
    if (last_.plans.count(model.route()) == 0) continue;
    plans[model.route()] = {{model.name(), model.version()}, BytesInWorker(model)};
  }
  budget_.Published(last_.catalog.generation(), std::move(plans));
  return &last_;
}

absl::StatusOr<const BuiltCatalog*> CatalogBuilder::Keep(const std::string& root, Made made) {
  if (made.evicts.empty()) return Take(std::move(made.catalog));
  LeftOut left_out = left_out_;
  left_out.evicted.insert(made.evicts.begin(), made.evicts.end());
  const Reread nothing;
  absl::StatusOr<Made> before = Make(root, &nothing, left_out);
  if (!before.ok()) return before.status();
  const BuiltCatalog* const smaller = Take(std::move(before->catalog));
  if (absl::Status s = memory_.publish(*smaller); !s.ok()) return s;
  const uint64_t generation = smaller->catalog.generation();
  const uint64_t settled = memory_.use(generation).settled_generation;
  budget_.Settled(settled);
  if (settled < generation) {
    return absl::ResourceExhaustedError("what was evicted to make room is still in use; try again");
  }
  return Take(std::move(made.catalog));
}

absl::StatusOr<const BuiltCatalog*> CatalogBuilder::Build(const std::string& root) {
  absl::StatusOr<Made> made = Make(root, nullptr, left_out_);
  if (!made.ok()) return made.status();
  return Keep(root, std::move(*made));
}

absl::StatusOr<const BuiltCatalog*> CatalogBuilder::Update(const std::string& root,
                                                           const Reread& reread) {
  Reread loaded = reread;
  for (const std::string& name : left_out_.unloaded) loaded.models.erase(name);
  absl::StatusOr<Made> made = Make(root, &loaded, left_out_);
  if (!made.ok()) return made.status();
  return Keep(root, std::move(*made));
}

absl::StatusOr<const BuiltCatalog*> CatalogBuilder::Load(const std::string& root,
                                                         const std::string& name) {
  if (!IsPlainName(name)) return absl::InvalidArgumentError("model_name: is no model's name");
  absl::StatusOr<Repository> repository = Repository::Open(root);
  if (!repository.ok()) return absl::UnavailableError("the repository cannot be read now");
  const absl::StatusOr<ModelDefinition> definition =
      ModelLoader(*repository, options_).ReadDefinition(name);
  if (absl::IsNotFound(definition.status())) {
    return absl::NotFoundError(absl::StrCat("model \"", name, "\" is not in the repository"));
  }
  if (!definition.ok()) return definition.status();
  LeftOut left_out = left_out_;
  Reread reread;
  // Whether something of it was left out.
  const auto take_in = [&](const std::string& model) {
    const size_t evicted = std::erase_if(
        left_out.evicted, [&](const VersionName& version) { return version.first == model; });
    return left_out.unloaded.erase(model) + evicted > 0;
  };
  reread.models[name].all = true;
  take_in(name);
  for (const std::string& member : definition->ensemble.members) {
    if (take_in(member)) reread.models[member].all = true;
  }
  absl::StatusOr<Made> made = Make(root, &reread, left_out);
  if (!made.ok()) return made.status();
  for (const FailedModel& failed : made->catalog.catalog.failed()) {
    // Of an ensemble that was served and would not be with the new model, too.
    const auto served = [&](const BuiltModel& model) {
      return model.loaded.model.name() == failed.name();
    };
    if (!reread.Names(failed.name()) &&
        std::none_of(last_.models.begin(), last_.models.end(), served)) {
      continue;
    }
    const std::string why = absl::StrCat(
        "model \"", failed.name(), "\" cannot be served, nothing was changed: ", failed.reason());
    return failed.no_room() ? absl::ResourceExhaustedError(why) : absl::InvalidArgumentError(why);
  }
  return Keep(root, std::move(*made));
}

std::vector<std::string> CatalogBuilder::MembersOf(const std::string& name) const {
  for (const BuiltModel& model : last_.models) {
    if (model.loaded.model.name() == name) return model.definition.ensemble.members;
  }
  return {};
}

std::string CatalogBuilder::EnsembleThatNeeds(const std::string& member,
                                              const std::set<std::string>& but) const {
  for (const BuiltModel& model : last_.models) {
    const std::vector<std::string>& members = model.definition.ensemble.members;
    if (but.count(model.loaded.model.name()) > 0) continue;
    if (std::find(members.begin(), members.end(), member) != members.end()) {
      return model.loaded.model.name();
    }
  }
  return "";
}

absl::StatusOr<const BuiltCatalog*> CatalogBuilder::Unload(const std::string& root,
                                                           const std::string& name,
                                                           bool dependents) {
  const auto is_named = [&](const auto& model) { return model.name() == name; };
  const bool known =
      std::any_of(last_.catalog.models().begin(), last_.catalog.models().end(), is_named) ||
      std::any_of(last_.catalog.failed().begin(), last_.catalog.failed().end(), is_named) ||
      std::any_of(last_.catalog.evicted().begin(), last_.catalog.evicted().end(), is_named) ||
      left_out_.unloaded.count(name) > 0;
  if (!known) return absl::NotFoundError("model_name: no such model is loaded");
  if (const std::string ensemble = EnsembleThatNeeds(name, {}); !ensemble.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "model \"", name, "\" is needed by ensemble \"", ensemble, "\": unload that first"));
  }
  LeftOut left_out = left_out_;
  std::set<std::string>& unloaded = left_out.unloaded;
  unloaded.insert(name);
  if (dependents) {
    for (const std::string& member : MembersOf(name)) {
      if (EnsembleThatNeeds(member, {name}).empty()) unloaded.insert(member);
    }
  }
  const Reread nothing;
  absl::StatusOr<Made> made = Make(root, &nothing, left_out);
  if (!made.ok()) return made.status();
  return Keep(root, std::move(*made));
}

}  // namespace millrace
