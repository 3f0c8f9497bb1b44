// Golden rows as requests, and the bytes that their answers must have.
//
// Purpose: what the load generator, verify and the demo send and compare with.
// Who may call: any thread. Ownership: a GoldenSet owns requests and expected bytes.
// Invariants: 1. request i asks for exactly the outputs that the expected file has, in the model's
//   order; 2. expected bytes are what raw_output_contents must be, bit for bit.
// What fails: INVALID_ARGUMENT with row and column of a cell, or what header and model disagree on.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/api/inference.pb.h"
#include "tools/load/csv.h"

namespace millrace {

struct GoldenRequest {
  inference::ModelInferRequest request;
  std::vector<std::string> expected;  // for each output, raw
};

struct GoldenSet {
  std::vector<std::string> output_names;
  std::vector<std::string> output_types;
  std::vector<GoldenRequest> requests;
};

// `rows`: columns of the model's one tensor, or the named raw columns if every name of the header
// is one of them (an empty cell is a missing value). `expect` may be null: nothing is compared.
absl::StatusOr<GoldenSet> MakeGolden(const inference::ModelMetadataResponse& metadata,
                                     const Csv& rows, const Csv* expect, size_t rows_per_request);

// The parameter "timeout" of each request: the deadline that gRPC's server is told.
void SetTimeout(int64_t ms, GoldenSet* golden);

}  // namespace millrace
