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
      unloaded_(std::move(unloaded)) {}

absl::StatusOr<BuiltCatalog> CatalogBuilder::Make(const std::string& root, const Reread* reread,
                                                  const std::set<std::string>& unloaded) {
  absl::StatusOr<Repository> repository = Repository::Open(root);
  if (!repository.ok()) return repository.status();
  return BuildCatalog(*repository, options_, last_, reread, unloaded, &next_route_);
}

const BuiltCatalog* CatalogBuilder::Keep(BuiltCatalog built) {
  last_ = std::move(built);
  last_.catalog.set_generation(next_generation_++);
  return &last_;
}

absl::StatusOr<const BuiltCatalog*> CatalogBuilder::Build(const std::string& root) {
  absl::StatusOr<BuiltCatalog> built = Make(root, nullptr, unloaded_);
  if (!built.ok()) return built.status();
  return Keep(std::move(*built));
}

absl::StatusOr<const BuiltCatalog*> CatalogBuilder::Update(const std::string& root,
                                                           const Reread& reread) {
  Reread loaded = reread;
  for (const std::string& name : unloaded_) loaded.models.erase(name);
  absl::StatusOr<BuiltCatalog> built = Make(root, &loaded, unloaded_);
  if (!built.ok()) return built.status();
  return Keep(std::move(*built));
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
  std::set<std::string> unloaded = unloaded_;
  Reread reread;
  reread.models[name].all = true;
  unloaded.erase(name);
  for (const std::string& member : definition->ensemble.members) {
    if (unloaded.erase(member) > 0) reread.models[member].all = true;
  }
  absl::StatusOr<BuiltCatalog> built = Make(root, &reread, unloaded);
  if (!built.ok()) return built.status();
  for (const FailedModel& failed : built->catalog.failed()) {
    // Of an ensemble that was served and would not be with the new model, too.
    const auto served = [&](const BuiltModel& model) {
      return model.loaded.model.name() == failed.name();
    };
    if (!reread.Names(failed.name()) &&
        std::none_of(last_.models.begin(), last_.models.end(), served)) {
      continue;
    }
    return absl::InvalidArgumentError(absl::StrCat(
        "model \"", failed.name(), "\" cannot be served, nothing was changed: ", failed.reason()));
  }
  unloaded_ = std::move(unloaded);
  return Keep(std::move(*built));
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
      unloaded_.count(name) > 0;
  if (!known) return absl::NotFoundError("model_name: no such model is loaded");
  if (const std::string ensemble = EnsembleThatNeeds(name, {}); !ensemble.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "model \"", name, "\" is needed by ensemble \"", ensemble, "\": unload that first"));
  }
  std::set<std::string> unloaded = unloaded_;
  unloaded.insert(name);
  if (dependents) {
    for (const std::string& member : MembersOf(name)) {
      if (EnsembleThatNeeds(member, {name}).empty()) unloaded.insert(member);
    }
  }
  const Reread nothing;
  absl::StatusOr<BuiltCatalog> built = Make(root, &nothing, unloaded);
  if (!built.ok()) return built.status();
  unloaded_ = std::move(unloaded);
  return Keep(std::move(*built));
}

}  // namespace millrace
