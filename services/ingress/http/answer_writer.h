// An answer of the pipeline as the body of an HTTP response.
//
// Purpose: InferAnswer to JSON, with binary tensors after it where the client asked for them.
// Who may call: one thread, inside Completion::Done.
// Ownership: the body owns its bytes; views of the answer are not kept.
// Invariants:
//   1. What may lie in a peer's memory (names, shapes, data) is copied once and never read twice;
//      the copy is what is checked and written.
//   2. {"predictions": [...]} has one element a row: with one output its number, or an array where
//      a row holds several; with several outputs an object of these by the outputs' names.
//   3. An output with a place in shared memory is written there, and the answer says where.
// What fails: INVALID_ARGUMENT for a type without JSON form (FP16, BF16: ask for binary data) and
//   for shared memory that has become too small;
//   INTERNAL for an answer that does not agree with itself.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "services/ingress/frontend.h"
#include "services/ingress/http/parsed_infer.h"

namespace millrace::http {

struct AnswerBody {
  std::string json;
  std::string binary;       // follows the JSON
  bool has_binary = false;  // the client must be told where the JSON ends
  std::string copy;         // of one text of the answer, while it is written
};

// `answer.status` must be OK. `body` is overwritten; its capacity is used again.
absl::Status WriteAnswer(const InferAnswer& answer, const AnswerForm& form, AnswerBody* body);

}  // namespace millrace::http
