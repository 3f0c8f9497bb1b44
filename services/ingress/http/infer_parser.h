// Bodies of POST /v2/models/M/infer: the Open Inference Protocol's JSON, and the binary tensor
// extension.
//
// Purpose: body to ParsedInfer, each fault with the name of its field.
// Who may call: one thread. One parser serves all connections: what it read is used at once.
// Ownership: see parsed_infer.h.
// Invariants:
//   1. Members may come in any order; a known member given twice is a fault, an unknown one is read
//      and ignored. Of a parameter given twice the last counts; parameters that would change the
//      result and are not supported (sequences) are faults.
//   2. Binary tensors stand after the JSON, in the order of the inputs, and fill the body exactly;
//      tensors in shared memory are copied before they are looked at.
//   3. Elements agree with shape and datatype, and no input's name comes twice. Whether the inputs
//      fit the model is the lane's to say.
// What fails: INVALID_ARGUMENT, or what ClientRegions says; nothing of `out` is to be used then.
#pragma once

#include <stddef.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "ipc/catalog.pb.h"
#include "services/ingress/http/parsed_infer.h"

namespace millrace::http {

inline constexpr size_t kMaxInputs = 1024;
inline constexpr size_t kMaxOutputs = 256;

class InferParser {
 public:
  // `regions`: what shared-memory parameters name. Borrowed; without any they are UNIMPLEMENTED.
  explicit InferParser(const ClientRegions* regions = nullptr);
  ~InferParser();
  InferParser(const InferParser&) = delete;
  InferParser& operator=(const InferParser&) = delete;

  // `json_bytes`: the length of the JSON part where the client named one. The string needs
  // kBodyPadding bytes of capacity past its size (body.h).
  absl::Status Parse(const std::string& body, std::optional<size_t> json_bytes, ParsedInfer* out);

  // A body that is nothing but the bytes of the model's one input. Its rows are counted by them;
  // the outputs come as binary data.
  absl::Status ParseRaw(std::string_view body, const Model& model, ParsedInfer* out);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::http
