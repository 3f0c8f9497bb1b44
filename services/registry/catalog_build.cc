#include "services/registry/catalog_build.h"

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "services/registry/ensemble_members.h"
#include "services/registry/evicted_versions.h"
#include "services/registry/route_before.h"
#include "services/registry/text.h"
#include "services/registry/weights.h"

namespace millrace {
namespace {

constexpr uint32_t kMaxRoute = 0xffff;

// The state of one build.
class Build {
 public:
  // `reread` null: everything.
  Build(const Repository& repository, const LoaderOptions& options, const BuiltCatalog& last,
        const Reread* reread, const LeftOut& left_out, PlanBudget* budget, uint32_t* next_route)
      : repository_(repository),
        loader_(repository, options),
        last_(last),
        reread_(reread),
        unloaded_(left_out.unloaded),
        evicted_(left_out, reread),
        budget_(budget),
        next_route_(*next_route) {
    for (const std::string& name : unloaded_) built_.catalog.add_unloaded(name);
  }

  absl::Status Run() {
    std::vector<ModelDefinition> ensembles;
    if (reread_ == nullptr) {
      if (absl::Status s = ReadAll(&ensembles); !s.ok()) return s;
    } else {
      others_ = CountOthers();
      for (const auto& [name, versions] : reread_->models) ReadOne(name, &ensembles);
      others_ = 0;
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
      *built_.catalog.add_weights() = WeightsOf(served);
    }
    evicted_.List(budget_.evicted(), &built_.catalog);
    built_.models = std::move(served_);
    return std::move(built_);
  }
  const std::set<VersionName>& evicts() const { return budget_.evicted(); }

 private:
  absl::Status ReadAll(std::vector<ModelDefinition>* ensembles) {
    absl::StatusOr<Repository::Listing> listing = repository_.ListModels();
    if (!listing.ok()) return listing.status();
    if (listing->models.empty() && listing->refused.empty() && !last_.models.empty()) {
      return absl::FailedPreconditionError(
          "the repository shows no model, as a file system does that is not mounted; what is "
          "served stays");
    }
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
      KeepServing(name, SIZE_MAX, ensembles);
      return;
    }
    ModelLoader::TellUnused(*definition);
    if (definition->IsEnsemble()) {
      ensembles->push_back(std::move(*definition));
    } else {
      AddPlain(*definition);
    }
  }

  bool IsEvicted(const std::string& name, int64_t version) const {
    return evicted_.Has(name, version) || budget_.Evicts({name, absl::StrCat(version)});
  }

  bool StaysOut(const std::string& name) const {
    return reread_->Names(name) || unloaded_.count(name) > 0;
  }

  // Plans that KeepOthers will bring.
  size_t CountOthers() const {
    return std::count_if(last_.models.begin(), last_.models.end(), [&](const BuiltModel& model) {
      return !StaysOut(model.loaded.model.name()) && !model.definition.IsEnsemble();
    });
  }

  // What did not change of a model that is read again; what is served of one being written.
  bool StaysAsBuilt(const std::string& name, int64_t version) const {
    if (reread_ == nullptr) return false;
    if (reread_->unsettled.count({name, version}) > 0) return true;
    const auto read = reread_->models.find(name);
    return read != reread_->models.end() && !read->second.all &&
           read->second.some.count(version) == 0 && ServedBefore(name, version) != nullptr;
  }

  // As far as they are settled: what is being written is not there yet, or still there.
  void LeaveOutUnsettled(const std::string& name, std::vector<int64_t>* versions) const {
    if (reread_ == nullptr) return;
    for (const auto& [model, version] : reread_->unsettled) {
      if (model != name) continue;
      std::erase(*versions, version);
      if (ServedBefore(name, version) != nullptr) versions->push_back(version);
    }
    std::sort(versions->begin(), versions->end());
  }

  // As they were built last; an ensemble that names what was read again is made anew.
  void KeepOthers(std::vector<ModelDefinition>* ensembles) {
    for (const FailedModel& failed : last_.catalog.failed()) {
      if (!StaysOut(failed.name())) *built_.catalog.add_failed() = failed;
    }
    std::set<std::string> anew;
    for (const BuiltModel& model : last_.models) {
      const std::string& name = model.loaded.model.name();
      if (StaysOut(name) || IsEvicted(name, model.version)) continue;
      const std::vector<std::string>& members = model.definition.ensemble.members;
      if (std::any_of(members.begin(), members.end(),
                      [&](const std::string& member) { return reread_->Names(member); })) {
        if (anew.insert(name).second) ensembles->push_back(model.definition);
        continue;
      }
      KeepAsBuilt(model);
    }
  }

  void KeepAsBuilt(const BuiltModel& model) {
    BuiltModel kept{
        {model.loaded.model, model.loaded.facts, Fd()}, model.version, model.definition};
    kept.loaded.model.set_latest(false);
    const auto plan = last_.plans.find(model.loaded.model.route());
    if (plan != last_.plans.end()) kept.loaded.plan = plan->second.Duplicate();
    served_.push_back(std::move(kept));
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
    LeaveOutUnsettled(name, &*present);
    // An ensemble has no file, and some tools do not keep empty folders.
    if (present->empty() && definition.IsEnsemble()) present->push_back(1);
    if (present->empty()) Fail(name, "", "there is no version folder");
    return SelectVersions(definition.config.version_policy(), *present, [&](int64_t version) {
      Fail(name, absl::StrCat(version), "version_policy names it, and it is not there");
    });
  }

  // A version that cannot be loaded is stood in for: by what was served before under its number,
  // then by the newest older version that loads, then by whatever was served before.
  void AddPlain(const ModelDefinition& definition) {
    const std::string& name = definition.config.name();
    std::vector<int64_t> wanted = Versions(definition);
    evicted_.Read(name, wanted);
    const auto out = [&](int64_t version) { return IsEvicted(name, version); };
    if (std::erase_if(wanted, out) > 0 && wanted.empty()) return;
    size_t missing = 0;
    for (int64_t version : wanted) {
      if (StaysAsBuilt(name, version)) {
        KeepAsBuilt(*ServedBefore(name, version));
        KeepFailure(last_.catalog, name, version, &built_.catalog);
      } else if (!AddVersion(definition, version) && !KeepVersion(name, version)) {
        ++missing;
      }
    }
    using Policy = registry::ModelVersionPolicy;
    const auto policy = definition.config.version_policy().policy_choice_case();
    if (wanted.empty()) return KeepServing(name, SIZE_MAX);
    if (policy == Policy::kAll || policy == Policy::kSpecific) return;
    if (missing > 0) missing = AddOlder(definition, wanted.front(), missing);
    KeepServing(name, missing);
  }

  bool AddVersion(const ModelDefinition& definition, int64_t version) {
    return Keep(definition, version, LoadPlain(definition, version));
  }

  absl::StatusOr<LoadedModel> LoadPlain(const ModelDefinition& definition, int64_t version) {
    if (served_.size() + others_ >= CatalogBuilder::kMaxPlans) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the server holds at most ", CatalogBuilder::kMaxPlans, " plans"));
    }
    stamp_ = loader_.StampOf(definition, version);
    const VersionName key = {definition.config.name(), absl::StrCat(version)};
    if (absl::Status s = budget_.MayLoad(key, stamp_); !s.ok()) return s;
    return loader_.LoadPlain(definition, version);
  }

  // How many are still missing.
  size_t AddOlder(const ModelDefinition& definition, int64_t below, size_t missing) {
    const std::string& name = definition.config.name();
    absl::StatusOr<std::vector<int64_t>> present = repository_.ListVersions(name);
    if (!present.ok()) return missing;
    LeaveOutUnsettled(name, &*present);
    for (auto version = present->rbegin(); version != present->rend() && missing > 0; ++version) {
      if (*version >= below || IsEvicted(name, *version)) continue;
      if (!AddVersion(definition, *version)) continue;
      --missing;
      TellStandIn(name, *version, "the newest before it that loads", &built_.catalog);
    }
    return missing;
  }

  const BuiltModel* ServedBefore(const std::string& name, int64_t version) const {
    for (const BuiltModel& model : last_.models) {
      if (model.loaded.model.name() == name && model.version == version) return &model;
    }
    return nullptr;
  }

  bool IsServed(const std::string& name, int64_t version) const {
    return std::any_of(served_.begin(), served_.end(), [&](const BuiltModel& model) {
      return model.loaded.model.name() == name && model.version == version;
    });
  }

  bool KeepVersion(const std::string& name, int64_t version) {
    const BuiltModel* const before = ServedBefore(name, version);
    if (before == nullptr || before->definition.IsEnsemble()) return false;
    if (IsEvicted(name, version)) return false;
    if (served_.size() + others_ >= CatalogBuilder::kMaxPlans) return false;
    KeepAsBuilt(*before);
    TellStandIn(name, version, "as it was before", &built_.catalog);
    return true;
  }

  // The newest of what was served before under that name, up to so many. Ensembles are joined anew
  // (`ensembles`), by the definition that they had.
  void KeepServing(const std::string& name, size_t count,
                   std::vector<ModelDefinition>* ensembles = nullptr) {
    std::vector<const BuiltModel*> before;
    for (const BuiltModel& model : last_.models) {
      if (model.loaded.model.name() == name) before.push_back(&model);
    }
    if (!before.empty() && before.front()->definition.IsEnsemble()) {
      if (ensembles != nullptr) ensembles->push_back(before.front()->definition);
      return;
    }
    std::sort(before.begin(), before.end(),
              [](const BuiltModel* a, const BuiltModel* b) { return a->version > b->version; });
    for (const BuiltModel* model : before) {
      if (count == 0) return;
      if (IsServed(name, model->version)) continue;
      count -= KeepVersion(name, model->version) ? 1 : 0;
    }
  }

  void AddEnsemble(const ModelDefinition& definition) {
    for (int64_t version : Versions(definition)) {
      if (Keep(definition, version, LoadEnsemble(definition, version))) continue;
      // As it was joined before, where its members can still be had.
      const BuiltModel* const before = ServedBefore(definition.config.name(), version);
      if (before == nullptr || !before->definition.IsEnsemble()) continue;
      absl::StatusOr<LoadedModel> again = LoadEnsemble(before->definition, version);
      if (!again.ok() || !Keep(before->definition, version, std::move(again))) continue;
      TellStandIn(definition.config.name(), version, "as it was before", &built_.catalog);
    }
  }

  absl::StatusOr<LoadedModel> LoadEnsemble(const ModelDefinition& definition,
                                           int64_t version) const {
    absl::StatusOr<std::vector<EnsembleMember>> members =
        FindMembers(definition.ensemble, served_, built_.catalog);
    if (!members.ok()) return members.status();
    absl::StatusOr<LoadedModel> loaded = loader_.LoadEnsemble(definition, version, *members);
    for (size_t i = 0; loaded.ok() && i < members->size(); ++i) {
      loaded->model.mutable_members(i)->set_route((*members)[i].model->route());
    }
    return loaded;
  }

  // Whether it can be served.
  bool Keep(const ModelDefinition& definition, int64_t version,
            absl::StatusOr<LoadedModel> loaded) {
    const std::string& name = definition.config.name();
    absl::Status status = loaded.status();
    if (status.ok()) status = GiveRoute(&*loaded);
    if (!status.ok()) {
      Fail(name, absl::StrCat(version), status.message());
      built_.catalog.mutable_failed()->rbegin()->set_no_room(absl::IsResourceExhausted(status));
      return false;
    }
    DropEvicted();
    Log(LogLevel::kInfo, "model_loaded",
        {{"model", name}, {"version", version}, {"route", loaded->model.route()}});
    served_.push_back({std::move(*loaded), version, definition});
    return true;
  }

  absl::Status GiveRoute(LoadedModel* loaded) {
    const uint32_t before = RouteBefore(last_, *loaded);
    if (before == 0 && next_route_ > kMaxRoute) {
      return absl::ResourceExhaustedError(
          "all route numbers of this life of the server are used; start it anew");
    }
    const uint32_t route = before != 0 ? before : next_route_;
    if (loaded->plan.valid()) {
      const Model& model = loaded->model;
      const absl::Status status =
          budget_.Admit(route, {{model.name(), model.version()}, BytesInWorker(model)}, stamp_);
      if (!status.ok()) return status;
    }
    if (before == 0) ++next_route_;
    loaded->model.set_route(route);
    return absl::OkStatus();
  }

  // What was kept, and has to make room for what came now.
  void DropEvicted() {
    std::erase_if(served_, [&](const BuiltModel& model) {
      return budget_.Evicts({model.loaded.model.name(), model.loaded.model.version()});
    });
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
  const Reread* const reread_;
  const std::set<std::string>& unloaded_;
  EvictedVersions evicted_;
  BudgetedBuild budget_;
  FileStamp stamp_;  // of the version in hand
  uint32_t& next_route_;
  size_t others_ = 0;
  std::vector<BuiltModel> served_;
  BuiltCatalog built_;
};

}  // namespace

absl::StatusOr<BuiltCatalog> BuildCatalog(const Repository& repository,
                                          const LoaderOptions& options, const BuiltCatalog& last,
                                          const Reread* reread, const LeftOut& left_out,
                                          PlanBudget* budget, uint32_t* next_route,
                                          std::set<VersionName>* evicts) {
  Build build(repository, options, last, reread, left_out, budget, next_route);
  if (absl::Status s = build.Run(); !s.ok()) return s;
  *evicts = build.evicts();
  return build.Take();
}

}  // namespace millrace
