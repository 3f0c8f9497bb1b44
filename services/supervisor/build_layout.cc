#include "services/supervisor/build_layout.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "services/supervisor/stage_table.h"

namespace millrace {
namespace {

bool IsProgram(const std::string& path) { return access(path.c_str(), X_OK) == 0; }

}  // namespace

std::vector<std::string> MissingPrograms(const Programs& programs, bool observer) {
  std::vector<std::string> wanted = {programs.compiler};
  for (const StageRow& row : kStageRows) {
    if (row.group < 0 || (row.stage == Stage::kObserver && !observer)) continue;
    wanted.push_back(programs.CommandFor(row.stage)[0]);
  }
  std::vector<std::string> missing;
  for (const std::string& program : wanted) {
    if (!IsProgram(program)) {
      missing.push_back(absl::StrCat("program ", program, ": ", strerror(errno)));
    }
  }
  return missing;
}

absl::StatusOr<Build> FindBuild(const std::string& path) {
  if (path.empty() || path.front() != '/') {
    return absl::InvalidArgumentError("path: must be absolute");
  }
  std::string root = path;
  while (root.size() > 1 && root.back() == '/') root.pop_back();
  const std::string folders[] = {root, root + "/usr/lib/millrace", root + "/lib/millrace",
                                 root + "/services"};
  for (const std::string& folder : folders) {
    Build build;
    build.supervisor = folder + "/supervisor/supervisor";
    if (!IsProgram(build.supervisor)) continue;
    build.programs.binaries = folder;
    build.programs.compiler = folder + "/registry/compiler";
    const std::string of_bazel = folder + "/../kernels/compile/compiler";
    if (!IsProgram(build.programs.compiler) && IsProgram(of_bazel)) {
      build.programs.compiler = of_bazel;
    }
    const std::vector<std::string> missing = MissingPrograms(build.programs, /*observer=*/false);
    if (!missing.empty()) return absl::NotFoundError(absl::StrCat("path: ", missing[0]));
    return build;
  }
  return absl::NotFoundError(
      absl::StrCat("path: there is no supervisor/supervisor in ", absl::StrJoin(folders, " or ")));
}

}  // namespace millrace
