#include "services/registry/catalog_builder.h"

#include <string.h>

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/log.h"
#include "ipc/memfd.h"
#include "services/registry/text.h"

namespace millrace {
namespace {

constexpr uint32_t kMaxRoute = 0xffff;

// A model without what its place in a catalog gave it.
std::string Identity(Model model) {
  model.clear_route();
  model.clear_latest();
  model.clear_config_json();  // has no effect of its own
  model.clear_golden();       // changes no answer
  return model.SerializeAsString();
}

bool SamePlan(const Fd& a, const Fd& b) {
  if (!a.valid() || !b.valid()) return a.valid() == b.valid();
  const auto map_a = MapImmutable(a.get(), SIZE_MAX);
  const auto map_b = MapImmutable(b.get(), SIZE_MAX);
  return map_a.ok() && map_b.ok() && map_a->get_size() == map_b->get_size() &&
         memcmp(map_a->get_address(), map_b->get_address(), map_a->get_size()) == 0;
}

// The state of one build.
class Build {
 public:
  // `reread` null: everything.
  Build(const Repository& repository, const LoaderOptions& options, const BuiltCatalog& last,
        const std::set<std::string>* reread, const std::set<std::string>& unloaded,
        uint32_t* next_route)
      : repository_(repository),
        loader_(repository, options),
        last_(last),
        reread_(reread),
        unloaded_(unloaded),
        next_route_(*next_route) {}

  absl::Status Run() {
    std::vector<ModelDefinition> ensembles;
    if (reread_ == nullptr) {
      if (absl::Status s = ReadAll(&ensembles); !s.ok()) return s;
    } else {
      for (const std::string& name : *reread_) ReadOne(name, &ensembles);
      KeepOthers(&ensembles);
    }
    for (const ModelDefinition& ensemble : ensembles) AddEnsemble(ensemble);
    Sort();
    MarkLatest();
    return absl::OkStatus();
  }

  BuiltCatalog Take() {
    for (BuiltModel& served : served_) {
      if (served.loaded.plan.valid()) {
        built_.plans[served.loaded.model.route()] = std::move(served.loaded.plan);
      }
      *built_.catalog.add_models() = served.loaded.model;
    }
    for (const std::string& name : unloaded_) built_.catalog.add_unloaded(name);
    built_.models = std::move(served_);
    return std::move(built_);
  }

 private:
  absl::Status ReadAll(std::vector<ModelDefinition>* ensembles) {
    absl::StatusOr<Repository::Listing> listing = repository_.ListModels();
    if (!listing.ok()) return listing.status();
    for (const Repository::RefusedFolder& folder : listing->refused) {
      Fail(folder.name, "", folder.reason);
    }
    for (const std::string& name : listing->models) {
      if (unloaded_.count(name) == 0) ReadOne(name, ensembles);
    }
    return absl::OkStatus();
  }

  void ReadOne(const std::string& name, std::vector<ModelDefinition>* ensembles) {
    absl::StatusOr<ModelDefinition> definition = loader_.ReadDefinition(name);
    if (!definition.ok()) {
      Fail(name, "", definition.status().message());
    } else if (definition->IsEnsemble()) {
      ensembles->push_back(std::move(*definition));
    } else {
      AddPlain(*definition);
    }
  }

  bool StaysOut(const std::string& name) const {
    return reread_->count(name) > 0 || unloaded_.count(name) > 0;
  }

  // As they were built last; an ensemble that names what was read again is made anew.
  void KeepOthers(std::vector<ModelDefinition>* ensembles) {
    for (const FailedModel& failed : last_.catalog.failed()) {
      if (!StaysOut(failed.name())) *built_.catalog.add_failed() = failed;
    }
    std::set<std::string> anew;
    for (const BuiltModel& model : last_.models) {
      const std::string& name = model.loaded.model.name();
      if (StaysOut(name)) continue;
      const std::vector<std::string>& members = model.definition.ensemble.members;
      if (std::any_of(members.begin(), members.end(),
                      [&](const std::string& member) { return reread_->count(member) > 0; })) {
        if (anew.insert(name).second) ensembles->push_back(model.definition);
        continue;
      }
      BuiltModel kept{
          {model.loaded.model, model.loaded.facts, Fd()}, model.version, model.definition};
      kept.loaded.model.set_latest(false);
      const auto plan = last_.plans.find(model.loaded.model.route());
      if (plan != last_.plans.end()) kept.loaded.plan = plan->second.Duplicate();
      served_.push_back(std::move(kept));
    }
  }

  // Plain models first, each kind by name and version.
  void Sort() {
    std::stable_sort(served_.begin(), served_.end(), [](const BuiltModel& a, const BuiltModel& b) {
      const bool a_joins = a.definition.IsEnsemble(), b_joins = b.definition.IsEnsemble();
      return std::tie(a_joins, a.loaded.model.name(), a.version) <
             std::tie(b_joins, b.loaded.model.name(), b.version);
    });
  }

  void Fail(const std::string& name, const std::string& version, absl::string_view reason) {
    FailedModel* failed = built_.catalog.add_failed();
    failed->set_name(name);
    failed->set_version(version);
    failed->set_reason(Printable(std::string_view(reason.data(), reason.size())));
    Log(LogLevel::kError, "model_failed",
        {{"model", name}, {"version", version}, {"reason", failed->reason()}});
  }

  std::vector<int64_t> Versions(const ModelDefinition& definition) {
    const std::string& name = definition.config.name();
    absl::StatusOr<std::vector<int64_t>> present = repository_.ListVersions(name);
    if (!present.ok()) {
      Fail(name, "", present.status().message());
      return {};
    }
    // An ensemble has no file, and some tools do not keep empty folders.
    if (present->empty() && definition.IsEnsemble()) present->push_back(1);
    if (present->empty()) Fail(name, "", "there is no version folder");
    return SelectVersions(definition.config.version_policy(), *present, [&](int64_t version) {
      Fail(name, absl::StrCat(version), "version_policy names it, and it is not there");
    });
  }

  void AddPlain(const ModelDefinition& definition) {
    for (int64_t version : Versions(definition)) {
      absl::StatusOr<LoadedModel> loaded =
          served_.size() < CatalogBuilder::kMaxPlans
              ? loader_.LoadPlain(definition, version)
              : absl::ResourceExhaustedError(
                    absl::StrCat("the server holds at most ", CatalogBuilder::kMaxPlans, " plans"));
      Keep(definition, version, std::move(loaded));
    }
  }

  void AddEnsemble(const ModelDefinition& definition) {
    for (int64_t version : Versions(definition)) {
      Keep(definition, version, LoadEnsemble(definition, version));
    }
  }

  absl::StatusOr<LoadedModel> LoadEnsemble(const ModelDefinition& definition,
                                           int64_t version) const {
    absl::StatusOr<std::vector<EnsembleMember>> members = FindMembers(definition.ensemble);
    if (!members.ok()) return members.status();
    absl::StatusOr<LoadedModel> loaded = loader_.LoadEnsemble(definition, version, *members);
    for (size_t i = 0; loaded.ok() && i < members->size(); ++i) {
      loaded->model.mutable_members(i)->set_route((*members)[i].model->route());
    }
    return loaded;
  }

  // Each member is the version that a request without a version would get.
  absl::StatusOr<std::vector<EnsembleMember>> FindMembers(
      const EnsembleDefinition& ensemble) const {
    std::vector<EnsembleMember> members;
    for (const std::string& name : ensemble.members) {
      const LoadedModel* found = nullptr;
      int64_t newest = 0;
      bool is_ensemble = false;
      for (const BuiltModel& served : served_) {
        if (served.loaded.model.name() != name) continue;
        is_ensemble = is_ensemble || served.loaded.model.members_size() > 0;
        if (found != nullptr && served.version < newest) continue;
        newest = served.version;
        found = &served.loaded;
      }
      if (is_ensemble) return BadMember(name, "is an ensemble itself");
      if (found == nullptr) return BadMember(name, WhyNotServed(name));
      members.push_back({&found->model, &found->facts});
    }
    return members;
  }

  std::string WhyNotServed(const std::string& name) const {
    for (const FailedModel& failed : built_.catalog.failed()) {
      if (failed.name() == name) return absl::StrCat("failed: ", failed.reason());
    }
    return unloaded_.count(name) > 0 ? "is unloaded" : "is not a plain model of the repository";
  }

  static absl::Status BadMember(const std::string& name, const std::string& why) {
    return absl::InvalidArgumentError(
        absl::StrCat("config.pbtxt: parameters members: ", name, " ", why));
  }

  void Keep(const ModelDefinition& definition, int64_t version,
            absl::StatusOr<LoadedModel> loaded) {
    const std::string& name = definition.config.name();
    absl::Status status = loaded.status();
    if (status.ok()) status = GiveRoute(&*loaded);
    if (!status.ok()) return Fail(name, absl::StrCat(version), status.message());
    Log(LogLevel::kInfo, "model_loaded",
        {{"model", name}, {"version", version}, {"route", loaded->model.route()}});
    served_.push_back({std::move(*loaded), version, definition});
  }

  absl::Status GiveRoute(LoadedModel* loaded) {
    const std::string identity = Identity(loaded->model);
    for (const Model& model : last_.catalog.models()) {
      if (model.name() != loaded->model.name() || model.version() != loaded->model.version()) {
        continue;
      }
      const auto plan = last_.plans.find(model.route());
      const Fd none;
      const Fd& last_plan = plan == last_.plans.end() ? none : plan->second;
      if (Identity(model) != identity || !SamePlan(last_plan, loaded->plan)) break;
      loaded->model.set_route(model.route());
      return absl::OkStatus();
    }
    if (next_route_ > kMaxRoute) {
      return absl::ResourceExhaustedError(
          "all route numbers of this life of the server are used; start it anew");
    }
    loaded->model.set_route(next_route_++);
    return absl::OkStatus();
  }

  void MarkLatest() {
    std::map<std::string, BuiltModel*> latest;
    for (BuiltModel& served : served_) {
      BuiltModel*& best = latest[served.loaded.model.name()];
      if (best == nullptr || served.version > best->version) best = &served;
    }
    for (auto& [name, served] : latest) served->loaded.model.set_latest(true);
  }

  const Repository& repository_;
  const ModelLoader loader_;
  const BuiltCatalog& last_;
  const std::set<std::string>* const reread_;
  const std::set<std::string>& unloaded_;
  uint32_t& next_route_;
  std::vector<BuiltModel> served_;
  BuiltCatalog built_;
};

}  // namespace

CatalogBuilder::CatalogBuilder(LoaderOptions options, uint32_t first_route,
                               uint64_t first_generation, std::set<std::string> unloaded)
    : options_(std::move(options)),
      next_route_(std::max(first_route, 1u)),
      next_generation_(std::max<uint64_t>(first_generation, 1)),
      unloaded_(std::move(unloaded)) {}

absl::StatusOr<BuiltCatalog> CatalogBuilder::Make(const std::string& root,
                                                  const std::set<std::string>* reread,
                                                  const std::set<std::string>& unloaded) {
  absl::StatusOr<Repository> repository = Repository::Open(root);
  if (!repository.ok()) return repository.status();
  millrace::Build build(*repository, options_, last_, reread, unloaded, &next_route_);
  if (absl::Status s = build.Run(); !s.ok()) return s;
  return build.Take();
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
  std::set<std::string> unloaded = unloaded_, reread = {name};
  unloaded.erase(name);
  for (const std::string& member : definition->ensemble.members) {
    if (unloaded.erase(member) > 0) reread.insert(member);
  }
  absl::StatusOr<BuiltCatalog> built = Make(root, &reread, unloaded);
  if (!built.ok()) return built.status();
  for (const FailedModel& failed : built->catalog.failed()) {
    // Of an ensemble that was served and would not be with the new model, too.
    const auto served = [&](const BuiltModel& model) {
      return model.loaded.model.name() == failed.name();
    };
    if (reread.count(failed.name()) == 0 &&
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
  const std::set<std::string> nothing;
  absl::StatusOr<BuiltCatalog> built = Make(root, &nothing, unloaded);
  if (!built.ok()) return built.status();
  unloaded_ = std::move(unloaded);
  return Keep(std::move(*built));
}

}  // namespace millrace
