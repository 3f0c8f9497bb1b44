// A file that is there whole or not at all.
//
// Who may call: any thread. Invariants: the content is on the disk before the name is; what fails
//   leaves the file that was there before, and nothing else.
// What fails: with what the system said (a full disk, no permission); ALREADY_EXISTS where the file
//   may not be replaced.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace millrace {

absl::Status WriteWholeFile(const std::string& path, std::string_view content, mode_t mode,
                            bool may_replace);

}  // namespace millrace
