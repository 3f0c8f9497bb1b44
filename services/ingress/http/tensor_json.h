// JSON arrays to the bytes of a tensor.
//
// Purpose: read `data` of an input (or one row of a predict request) straight into little-endian
//   bytes, each element checked against the datatype, the whole against the shape.
// Who may call: the thread of the reader.
// Invariants:
//   1. `data` is flat (all elements, row-major) or nested exactly as the shape says.
//   2. null is a missing value: NaN for FP32 and FP64, the empty string for BYTES, an error for the
//      rest. NaN and infinities have no JSON form, so a number is always finite and fits its type.
//   3. FP32 is read as a double and rounded once more; a text of at most nine digits, and every
//      float printed exactly or shortest, arrives as that float.
//   4. On success exactly the shape's elements were appended to `raw`.
// What fails: INVALID_ARGUMENT that names the element ("inputs[0].data[17]: ...").
#pragma once

#include <stdint.h>

#include <string>

#include "absl/types/span.h"
#include "common/datatype.h"
#include "services/ingress/http/json_reader.h"

namespace millrace::http {

inline constexpr size_t kMaxRank = 8;

// Elements of a shape, or an error: rank 1..8, no negative number, a product that fits 2^40.
absl::Status CountElements(absl::Span<const int64_t> shape, const FieldPath& path, size_t* count);

// What a document of `bytes` can hold at most: each element takes itself and a comma or bracket.
inline size_t MostElements(size_t bytes) { return bytes / 2 + 1; }

// `shape` must have passed CountElements, and `count` be at most MostElements of the text.
absl::Status ReadTensor(JsonReader* reader, JsonReader::Value value, const FieldPath& path,
                        DataType type, absl::Span<const int64_t> shape, size_t count,
                        std::string* raw);

// One number or null, as in invariant 2; false where it is neither or does not fit a double.
bool ReadNumber(JsonReader::Value* value, double* out);

// Appends one BYTES element.
void AppendBytesElement(std::string_view text, std::string* raw);

// Why `value` is no number of `type`.
absl::Status ElementFault(JsonReader::Value value, DataType type, const std::string& where);

}  // namespace millrace::http
