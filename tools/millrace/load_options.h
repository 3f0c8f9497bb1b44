// What the command line of `millrace load` asks for, in the form of lists.
//
// Purpose: sweeps (`--rate 1000,2000`) and shapes (`--shape input:1,30`). Who may call: any thread.
// What fails: INVALID_ARGUMENT, with the flag and the text that is no list of the kind.
#pragma once

#include <stdint.h>

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace millrace {

// "1000,2500.5": finite numbers above 0 and up to `most`; at least one.
absl::StatusOr<std::vector<double>> ParseNumbers(const std::string& flag, const std::string& text,
                                                 double most);
// "1,8,32": the same, whole.
absl::StatusOr<std::vector<int>> ParseCounts(const std::string& flag, const std::string& text,
                                             int most);
// Each "NAME:D,D": a name may hold colons, the last one ends it.
absl::StatusOr<std::map<std::string, std::vector<int64_t>>> ParseShapes(
    const std::vector<std::string>& texts);

}  // namespace millrace
