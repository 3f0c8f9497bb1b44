// Versions that are out of the catalog for want of memory, over one build of it.
//
// Purpose: they stay out until their model is loaded again, and are listed as long as they would be
//   served otherwise. Who may call: the build (catalog_build.h). Nothing fails.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "services/registry/catalog_build.h"

namespace millrace {

class EvictedVersions {
 public:
  EvictedVersions(const LeftOut& left_out, const Reread* reread)
      : left_out_(left_out), reread_(reread) {}

  bool Has(const std::string& name, int64_t version) const;
  // The model was read, and these are the versions that its policy names now.
  void Read(const std::string& name, const std::vector<int64_t>& wanted);
  // Those that there are, and `fresh`, which are logged, to the catalog's `evicted`.
  void List(const std::set<VersionName>& fresh, Catalog* catalog) const;

 private:
  const LeftOut& left_out_;
  const Reread* const reread_;
  std::set<std::string> read_;
  std::set<VersionName> wanted_;
};

}  // namespace millrace
