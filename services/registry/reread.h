// What a build of the catalog reads again, where it is not everything.
//
// Purpose: the word between who knows what changed in the repository and CatalogBuilder.
// Who may call: anybody; it is a value.
// Invariants: 1. a model is in `models` or in `gone`, never in both.
// What fails: nothing.
#pragma once

#include <stdint.h>

#include <map>
#include <set>
#include <string>
#include <utility>

namespace millrace {

struct Reread {
  struct Versions {
    bool all = false;
    std::set<int64_t> some;  // where not all: these; the others stay as they were built
  };
  std::map<std::string, Versions> models;
  std::set<std::string> gone;  // their folders are
  // Versions that are being written: one that is served stays as it is, another is not seen.
  std::set<std::pair<std::string, int64_t>> unsettled;

  bool Names(const std::string& model) const {
    return models.count(model) > 0 || gone.count(model) > 0;
  }
};

}  // namespace millrace
