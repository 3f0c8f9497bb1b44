// Where the programs of a build are.
//
// Purpose: `millrace upgrade PATH` takes an installed tree (deploy/layout.sh), its folder of
//   programs, or Bazel's output. Who may call: any thread.
// What fails: NOT_FOUND with the folders that were tried, or the programs that are missing.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "services/supervisor/process_table.h"

namespace millrace {

struct Build {
  Programs programs;
  std::string supervisor;
};

// `path`: absolute.
absl::StatusOr<Build> FindBuild(const std::string& path);

// Programs that cannot be run, a sentence each. `observer`: the configuration wants one.
std::vector<std::string> MissingPrograms(const Programs& programs, bool observer);

}  // namespace millrace
