#include "services/registry/ensemble_members.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace millrace {
namespace {

std::string WhyNotServed(const std::string& name, const Catalog& catalog) {
  for (const FailedModel& failed : catalog.failed()) {
    if (failed.name() == name) return absl::StrCat("failed: ", failed.reason());
  }
  const auto& unloaded = catalog.unloaded();
  return std::find(unloaded.begin(), unloaded.end(), name) != unloaded.end()
             ? "is unloaded"
             : "is not a plain model of the repository";
}

absl::Status BadMember(const std::string& name, const std::string& why) {
  return absl::InvalidArgumentError(
      absl::StrCat("config.pbtxt: parameters members: ", name, " ", why));
}

}  // namespace

absl::StatusOr<std::vector<EnsembleMember>> FindMembers(const EnsembleDefinition& ensemble,
                                                        const std::vector<BuiltModel>& served,
                                                        const Catalog& catalog) {
  std::vector<EnsembleMember> members;
  for (const std::string& name : ensemble.members) {
    const LoadedModel* found = nullptr;
    int64_t newest = 0;
    bool is_ensemble = false;
    for (const BuiltModel& model : served) {
      if (model.loaded.model.name() != name) continue;
      is_ensemble = is_ensemble || model.loaded.model.members_size() > 0;
      if (found != nullptr && model.version < newest) continue;
      newest = model.version;
      found = &model.loaded;
    }
    if (is_ensemble) return BadMember(name, "is an ensemble itself");
    if (found == nullptr) return BadMember(name, WhyNotServed(name, catalog));
    members.push_back({&found->model, &found->facts});
  }
  return members;
}

}  // namespace millrace
