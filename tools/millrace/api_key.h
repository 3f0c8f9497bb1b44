// Fresh API keys, and their entries in a key file (services/ingress/access/README.md).
//
// Purpose: what `millrace key new` prints. Who may call: any thread; nothing is kept.
// Invariant: a key has 32 bytes of the kernel's randomness, so that a fast hash of it can be
// stored. What fails: ApiKeyEntry, with a sentence, for a name or scopes that a key file would not
// take.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace millrace {

// "mr_" and 64 hex digits.
std::string NewApiKey();

// `scopes`: "infer,admin", of infer, admin and metrics.
absl::StatusOr<std::string> ApiKeyEntry(std::string_view name, std::string_view scopes,
                                        std::string_view key);

}  // namespace millrace
