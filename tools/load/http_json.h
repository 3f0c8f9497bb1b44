// The protocol's JSON, as a client writes and reads it.
//
// Purpose: requests and answers that the tools hold as protobuf, over HTTP. Who may call: any
//   thread; nothing is kept. Invariants: 1. a NaN is written as null, and null is read as NaN.
//   2. Every other number arrives as the same bits.
// What fails: INVALID_ARGUMENT for a request that JSON cannot carry; INTERNAL for an answer that is
//   not the protocol's.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "common/api/inference.pb.h"

namespace millrace {

// The body for POST /v2/models/M/infer, from raw_input_contents.
absl::StatusOr<std::string> InferRequestJson(const inference::ModelInferRequest& request);

absl::StatusOr<inference::ModelInferResponse> ParseInferAnswer(const std::string& body);

absl::StatusOr<inference::ModelMetadataResponse> ParseMetadataAnswer(const std::string& body);

// The status of an answer with another code than 200, with the sentence from its body.
absl::Status ParseHttpError(int code, const std::string& body);

// "/v2/models/M" or "/v2/models/M/versions/V", with what a path cannot hold percent-encoded.
std::string ModelTarget(const std::string& model, const std::string& version);

}  // namespace millrace
