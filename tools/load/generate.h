// Requests made up from a model's metadata, where no file of rows is given.
//
// Purpose: a load on any model. Who may call: any thread. Ownership: the set owns its requests.
// Invariants: 1. names, datatypes and shapes are the metadata's; a first dimension that is open
// (-1)
//   has `rows`. 2. The bytes depend on metadata and options alone. 3. Reals lie in [0, 1), integers
//   in [0, 100), texts are ASCII; nothing is expected of the answers.
// What fails: INVALID_ARGUMENT for another open dimension without a shape, for a shape that does
//   not fit, a name that is no input's, a datatype that is not the protocol's, and for a request of
//   more than 1 GiB.
#pragma once

#include <stdint.h>

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/api/inference.pb.h"
#include "tools/load/golden.h"

namespace millrace {

struct GenerateOptions {
  int64_t rows = 1;
  int64_t distinct = 64;  // requests; fewer where together they would be more than 256 MiB
  uint64_t seed = 1;
  size_t text_bytes = 8;
  std::map<std::string, std::vector<int64_t>> shapes;  // whole shapes, by the input's name
};

absl::StatusOr<GoldenSet> GenerateRequests(const inference::ModelMetadataResponse& metadata,
                                           const GenerateOptions& options);

}  // namespace millrace
