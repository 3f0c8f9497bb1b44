// Typed tensor contents to the bytes that the pipeline works on.
//
// Purpose: a client may list elements in a typed field instead of sending raw bytes; everything
//   behind this knows only raw bytes. Who may call: any thread.
// Invariant: what comes out is little-endian, row-major, DataTypeSize bytes an element (BYTES: u32
//   length and the bytes). Whether the count fits the shape is for the caller to check.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "common/api/inference.pb.h"
#include "common/datatype.h"

namespace millrace {

// Replaces `raw` (its capacity is reused). INVALID_ARGUMENT, naming the field of `contents`, where
// elements stand in another field than the datatype's, or do not fit the datatype.
absl::Status ContentsToRaw(const inference::InferTensorContents& contents, DataType datatype,
                           std::string* raw);

}  // namespace millrace
