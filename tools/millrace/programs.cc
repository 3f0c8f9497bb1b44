#include "tools/millrace/programs.h"

#include <unistd.h>

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace millrace {
namespace {

bool IsProgram(const std::string& path) { return access(path.c_str(), X_OK) == 0; }

std::string Parent(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos || slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

absl::StatusOr<ServerPrograms> FindServerPrograms(const std::string& binaries,
                                                  const std::string& self) {
  // Bazel's output holds this program as tools/millrace/millrace.
  const std::string beside = Parent(self), output = Parent(Parent(beside));
  const std::vector<std::string> folders =
      binaries.empty() ? std::vector<std::string>{beside, output + "/services"}
                       : std::vector<std::string>{binaries, binaries + "/services"};
  for (const std::string& folder : folders) {
    ServerPrograms programs;
    programs.folder = folder;
    programs.keeper = folder + "/keeper/keeper";
    programs.supervisor = folder + "/supervisor/supervisor";
    if (!IsProgram(programs.keeper)) continue;
    for (const char* place : {"/registry/compiler", "/../kernels/compile/compiler"}) {
      programs.compiler = folder + place;
      if (IsProgram(programs.compiler)) break;
    }
    for (const std::string& program : {programs.supervisor, programs.compiler}) {
      if (!IsProgram(program)) {
        return absl::NotFoundError(absl::StrCat("program ", program, " is missing"));
      }
    }
    return programs;
  }
  return absl::NotFoundError(absl::StrCat("no program keeper/keeper in ",
                                          absl::StrJoin(folders, " or "),
                                          "; --binaries says where the programs are"));
}

}  // namespace millrace
