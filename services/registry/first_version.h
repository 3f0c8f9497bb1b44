// Describes a version of a repository as it lies there: its first manifest (first_manifest.h).
//
// Purpose: load it as the registry does, hash what it is made of, and let it answer golden rows.
// Who may call: one thread. What fails: with a sentence, where the version cannot be loaded or the
//   sample does not fit it.
#pragma once

#include <stdint.h>

#include <string>

#include "absl/status/statusor.h"
#include "services/registry/catalog_builder.h"

namespace millrace {

// `sample`: the text of a CSV file; empty: none.
absl::StatusOr<std::string> DescribeVersion(const std::string& root, const std::string& model,
                                            int64_t version, LoaderOptions options,
                                            const std::string& sample);

}  // namespace millrace
