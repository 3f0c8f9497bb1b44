// What the server says of itself and of its models, as JSON.
//
// Purpose: the bodies of the GET requests, from the catalog. Who may call: any thread.
// Invariants:
//   1. Shapes begin with -1, the rows. A model with a feature view has "properties" beside the
//      tensor it takes: "feature_view", and for each raw column that a request may send instead
//      "raw_column.<name>" with "number" or "string"; the same strings as in gRPC's metadata.
//   2. No path, no internal name, no reason of a failed version (the log has it).
// What fails: NOT_FOUND; UNAVAILABLE before the first catalog.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ipc/catalog.pb.h"
#include "services/ingress/verbs.h"

namespace millrace::http {

// {"name":"millrace","version":...,"extensions":[...]}
std::string ServerJson(std::string_view version, bool shared_memory);

// {"models":["a","b"]}, sorted, each once. An empty list before the first catalog.
std::string ModelsJson(const Catalog* catalog);

// `version` empty: the latest. The model lives as long as the catalog.
absl::StatusOr<const Model*> FindModel(const Catalog* catalog, std::string_view name,
                                       std::string_view version);

std::string ModelJson(const Catalog& catalog, const Model& model);

// The configuration as Triton writes it: as config_json, but dimensions and versions are numbers,
// and what a tensor could have and has not here (a format, raggedness) is said.
// INTERNAL for a text that is no configuration.
absl::StatusOr<std::string> ConfigJson(const Model& model);

// [{"name":...,"version":...,"state":"READY"}], in this order; "reason" where there is one.
std::string IndexJson(absl::Span<const IndexEntry> index);

}  // namespace millrace::http
