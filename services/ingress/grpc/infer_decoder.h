// A ModelInfer request from the wire to views.
//
// Purpose: everything a client can get wrong in the message itself is found here and named; the
//   lane then checks the views against the model's signature.
// Who may call: one thread; one object serves all calls, since a request's views are needed only
//   until Frontend::Infer returns.
// Ownership: request() and id() point into this object and end with the next Decode or Release.
// Invariants: 1. storage is reused from request to request and let go after a large one.
//   2. Either every input has raw bytes or every input has typed contents, never a mixture; an
//   input
//      in shared memory has neither, and no entry among the raw ones.
// What fails: Decode, with INVALID_ARGUMENT and the field's name; for shared memory also with what
//   ClientRegions says.
#pragma once

#include <grpcpp/grpcpp.h>
#include <stdint.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/api/inference.pb.h"
#include "services/ingress/classification.h"
#include "services/ingress/client_shm/regions.h"
#include "services/ingress/frontend.h"

namespace millrace {

class InferDecoder {
 public:
  // `regions`: what shared-memory parameters name; without any they are UNIMPLEMENTED.
  explicit InferDecoder(const ClientRegions* regions = nullptr) : regions_(regions) {}

  // Empties `wire`. `most_bytes`: of a message; a longer one is RESOURCE_EXHAUSTED, unread.
  absl::Status Decode(grpc::ByteBuffer* wire, size_t most_bytes = SIZE_MAX);

  // Valid after Decode succeeded. The deadline is left 0: it is the call's to know.
  InferRequest& request() { return request_; }
  // The parameter "timeout"; 0 where it was not sent.
  int64_t timeout_ns() const { return timeout_ns_; }
  // The parameter "millrace-client-key", for routes; empty: none.
  std::string_view client_key() const { return client_key_; }
  // The parameter "triton_enable_empty_final_response": the client wants to be told that an answer
  // is the last one.
  bool wants_final() const { return wants_final_; }
  // Outputs that go into shared memory; to be taken, since they keep their regions open.
  std::vector<OutputPlace>& output_places() { return output_places_; }
  // Outputs of which the k highest are asked for; to be taken and bound by BindClasses.
  Classification& classes() { return classes_; }
  // Holds `classes` against the model of the catalog; the status names the output.
  absl::Status BindClasses(std::shared_ptr<const Catalog> catalog, Classification* classes) const;
  // Valid even where only the parameters or inputs were wrong.
  std::string_view id() const { return message_->id(); }

  // The request is over: drops storage that only a rare large request needs.
  void Release();

 private:
  absl::Status DecodeParameters();
  absl::Status DecodeInputs();
  absl::Status DecodeOutputs();
  absl::Status DecodeOutput(int index);

  using Parameters = google::protobuf::Map<std::string, inference::InferParameter>;
  absl::StatusOr<std::string_view> RawOf(int index, DataType datatype, int* raw_entry);
  absl::StatusOr<std::string_view> ReadRegion(const Parameters& parameters, std::string* bytes);
  absl::StatusOr<RegionPlace> FindRegion(const Parameters& parameters) const;

  const ClientRegions* const regions_;
  std::unique_ptr<inference::ModelInferRequest> message_ =
      std::make_unique<inference::ModelInferRequest>();
  size_t wire_bytes_ = 0;
  InferRequest request_;
  int64_t timeout_ns_ = 0;
  std::string_view client_key_;
  bool wants_final_ = false;
  std::vector<TensorView> inputs_;
  std::vector<std::string> typed_;  // raw bytes of typed contents and shared memory, by input
  size_t region_bytes_ = 0;         // read from shared memory for this request
  std::vector<std::string_view> outputs_;
  std::vector<OutputPlace> output_places_;
  Classification classes_;
};

}  // namespace millrace
