// What the catalog says of models, as the protocol's answers: ModelMetadata, ModelConfig,
// RepositoryIndex.
//
// Purpose: what a client must send and will get, and what is there at all. Who may call: any
//   thread (RepositoryIndex: the frontend's); nothing is kept.
// Invariant: an answer names no file of this machine and no reason that could.
// What fails: NOT_FOUND for a name or version that the catalog does not serve; UNIMPLEMENTED for
//   the name of a repository (Triton's answer, too).
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "common/api/inference.pb.h"
#include "services/ingress/frontend.h"

namespace millrace {

// `version` empty: the latest.
absl::Status DescribeModel(const Catalog& catalog, std::string_view name, std::string_view version,
                           inference::ModelMetadataResponse* response);

// The configuration as the model's author wrote it, completed and corrected by what is served.
absl::Status DescribeConfig(const Catalog& catalog, std::string_view name, std::string_view version,
                            inference::ModelConfigResponse* response);

// Every version of the catalog, also what cannot be served; `draining`: nothing is ready.
absl::Status IndexRepository(const Frontend& frontend, const Catalog& catalog, bool draining,
                             const inference::RepositoryIndexRequest& request,
                             inference::RepositoryIndexResponse* response);

}  // namespace millrace
