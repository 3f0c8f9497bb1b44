#include "services/registry/catalog_builder.h"

#include <string.h>

#include <algorithm>

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
  Build(const Repository& repository, const LoaderOptions& options, const BuiltCatalog& last,
        uint32_t* next_route)
      : repository_(repository),
        loader_(repository, options),
        last_(last),
        next_route_(*next_route) {}

  absl::Status Run() {
    absl::StatusOr<Repository::Listing> listing = repository_.ListModels();
    if (!listing.ok()) return listing.status();
    for (const Repository::RefusedFolder& folder : listing->refused) {
      Fail(folder.name, "", folder.reason);
    }
    std::vector<ModelDefinition> ensembles;
    for (const std::string& name : listing->models) {
      absl::StatusOr<ModelDefinition> definition = loader_.ReadDefinition(name);
      if (!definition.ok()) {
        Fail(name, "", definition.status().message());
      } else if (definition->IsEnsemble()) {
        ensembles.push_back(std::move(*definition));
      } else {
        AddPlain(*definition);
      }
    }
    for (const ModelDefinition& ensemble : ensembles) AddEnsemble(ensemble);
    MarkLatest();
    return absl::OkStatus();
  }

  BuiltCatalog Take() {
    for (Served& served : served_) {
      if (served.loaded.plan.valid()) {
        built_.plans[served.loaded.model.route()] = std::move(served.loaded.plan);
      }
      *built_.catalog.add_models() = std::move(served.loaded.model);
    }
    return std::move(built_);
  }

 private:
  struct Served {
    LoadedModel loaded;
    int64_t version;
  };

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
      Keep(definition.config.name(), version, std::move(loaded));
    }
  }

  void AddEnsemble(const ModelDefinition& definition) {
    for (int64_t version : Versions(definition)) {
      Keep(definition.config.name(), version, LoadEnsemble(definition, version));
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
      bool is_ensemble = false;
      for (const Served& served : served_) {
        if (served.loaded.model.name() != name) continue;
        is_ensemble = is_ensemble || served.loaded.model.members_size() > 0;
        found = &served.loaded;  // versions ascend
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
    return "is not a plain model of the repository";
  }

  static absl::Status BadMember(const std::string& name, const std::string& why) {
    return absl::InvalidArgumentError(
        absl::StrCat("config.pbtxt: parameters members: ", name, " ", why));
  }

  void Keep(const std::string& name, int64_t version, absl::StatusOr<LoadedModel> loaded) {
    absl::Status status = loaded.status();
    if (status.ok()) status = GiveRoute(&*loaded);
    if (!status.ok()) return Fail(name, absl::StrCat(version), status.message());
    Log(LogLevel::kInfo, "model_loaded",
        {{"model", name}, {"version", version}, {"route", loaded->model.route()}});
    served_.push_back({std::move(*loaded), version});
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
    std::map<std::string, Served*> latest;
    for (Served& served : served_) {
      Served*& best = latest[served.loaded.model.name()];
      if (best == nullptr || served.version > best->version) best = &served;
    }
    for (auto& [name, served] : latest) served->loaded.model.set_latest(true);
  }

  const Repository& repository_;
  const ModelLoader loader_;
  const BuiltCatalog& last_;
  uint32_t& next_route_;
  std::vector<Served> served_;
  BuiltCatalog built_;
};

}  // namespace

CatalogBuilder::CatalogBuilder(LoaderOptions options, uint32_t first_route,
                               uint64_t first_generation)
    : options_(std::move(options)),
      next_route_(std::max(first_route, 1u)),
      next_generation_(std::max<uint64_t>(first_generation, 1)) {}

absl::StatusOr<const BuiltCatalog*> CatalogBuilder::Build(const std::string& root) {
  absl::StatusOr<Repository> repository = Repository::Open(root);
  if (!repository.ok()) return repository.status();
  millrace::Build build(*repository, options_, last_, &next_route_);
  if (absl::Status s = build.Run(); !s.ok()) return s;
  last_ = build.Take();
  last_.catalog.set_generation(next_generation_++);
  return &last_;
}

}  // namespace millrace
