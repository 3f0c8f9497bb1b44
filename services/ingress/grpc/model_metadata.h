// A model's signature in the catalog, as the protocol's ModelMetadata.
//
// Purpose: what a client must send and will get. Who may call: any thread; nothing is kept.
// What fails: NOT_FOUND for a name or version that the catalog does not serve.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "common/api/inference.pb.h"
#include "ipc/catalog.pb.h"

namespace millrace {

// `version` empty: the latest.
absl::Status DescribeModel(const Catalog& catalog, std::string_view name, std::string_view version,
                           inference::ModelMetadataResponse* response);

}  // namespace millrace
