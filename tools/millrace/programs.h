// Where Millrace's other programs are.
//
// Purpose: `millrace serve` starts them from an installed tree, <folder>/<stage>/<stage>, or from
//   Bazel's output, where services/<stage>/<stage> and kernels/compile/compiler lie.
// Who may call: any thread.
// What fails: NOT_FOUND, with the folders that were tried or the program that is missing.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace millrace {

struct ServerPrograms {
  std::string folder;  // of <stage>/<stage>
  std::string keeper;
  std::string supervisor;
  std::string compiler;
};

// In `binaries`, if it is not empty; else where the program `self` (an absolute path) lies.
absl::StatusOr<ServerPrograms> FindServerPrograms(const std::string& binaries,
                                                  const std::string& self);

}  // namespace millrace
