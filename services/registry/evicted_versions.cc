#include "services/registry/evicted_versions.h"

#include "absl/strings/str_cat.h"
#include "common/log.h"

namespace millrace {

bool EvictedVersions::Has(const std::string& name, int64_t version) const {
  return left_out_.evicted.count({name, absl::StrCat(version)}) > 0;
}

void EvictedVersions::Read(const std::string& name, const std::vector<int64_t>& wanted) {
  read_.insert(name);
  for (int64_t version : wanted) wanted_.insert({name, absl::StrCat(version)});
}

void EvictedVersions::List(const std::set<VersionName>& fresh, Catalog* catalog) const {
  std::set<VersionName> all = left_out_.evicted;
  all.insert(fresh.begin(), fresh.end());
  for (const VersionName& name : all) {
    const bool gone = left_out_.unloaded.count(name.first) > 0 ||
                      (reread_ != nullptr && reread_->gone.count(name.first) > 0) ||
                      (reread_ == nullptr && read_.count(name.first) == 0) ||
                      (read_.count(name.first) > 0 && wanted_.count(name) == 0);
    if (gone) continue;
    EvictedVersion* const evicted = catalog->add_evicted();
    evicted->set_name(name.first);
    evicted->set_version(name.second);
    if (fresh.count(name) == 0) continue;
    Log(LogLevel::kWarning, "model_evicted", {{"model", name.first}, {"version", name.second}});
  }
}

}  // namespace millrace
