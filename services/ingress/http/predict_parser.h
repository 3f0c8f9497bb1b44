// Bodies of POST /v1/models/M:predict: {"instances": [...]}, one instance a row.
//
// Purpose: body to ParsedInfer, by what the catalog says of the model.
//   Rows that are arrays (flat, or nested as the input's dims) are the model's one ready tensor.
//   Rows that are objects are named raw columns: each becomes an input [rows, 1] of FP64 (numbers,
//   true and false as 1 and 0) or BYTES (strings). null is a missing value: NaN, or "".
// Who may call: one thread. Ownership: see parsed_infer.h.
// Invariants:
//   1. All rows are of one kind; all objects have the same members.
//   2. A column of the model's view has the view's type; another one has the type of its first
//      value that is not null (the lane says whether the model has such a column).
//   3. Members beside "instances" are read and ignored.
// What fails: INVALID_ARGUMENT with "instances[3].age: ...".
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "ipc/catalog.pb.h"
#include "services/ingress/http/parsed_infer.h"

namespace millrace::http {

inline constexpr size_t kMaxColumns = 1024;

class PredictParser {
 public:
  PredictParser();
  ~PredictParser();
  PredictParser(const PredictParser&) = delete;
  PredictParser& operator=(const PredictParser&) = delete;

  // The string needs kBodyPadding bytes of capacity past its size (body.h).
  absl::Status Parse(const std::string& body, const Model& model, ParsedInfer* out);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::http
