// An answer to the bytes of a ModelInferResponse, alone or in a ModelStreamInferResponse.
//
// Purpose: the tensors go from where they lie, often a peer's memory, into the reply in one copy.
// Who may call: one thread; one object serves all calls. Nothing fails but Place.
// Invariants: 1. each output's bytes are read once. 2. raw_output_contents has one entry for each
//   output, in order, also for an empty one and one in shared memory. 3. The head's storage is
//   reused.
#pragma once

#include <grpcpp/grpcpp.h>
#include <stddef.h>
#include <stdint.h>

#include <string_view>
#include <vector>

#include "common/api/inference.pb.h"
#include "services/ingress/classification.h"
#include "services/ingress/client_shm/regions.h"
#include "services/ingress/frontend.h"

namespace millrace {

class InferEncoder {
 public:
  // An answer of which some outputs are classified; as Classifier::Apply.
  InferAnswer Classify(const InferAnswer& answer, const Classification& classes) {
    return classifier_.Apply(answer, classes);
  }
  // An answer of which some outputs go into shared memory: writes these, and returns it without
  // their bytes; with the fault as its status where one cannot be written. What it returns lives
  // until the next call, and no longer than `answer`.
  InferAnswer Place(const InferAnswer& answer, std::vector<OutputPlace>* places);
  // `answer.status` is OK. `id` is the request's.
  // `places`: those of Place.
  grpc::ByteBuffer Encode(const InferAnswer& answer, std::string_view id,
                          absl::Span<const OutputPlace> places = {});
  // The same on a stream. `say_final`: with the parameter that says that no more answers follow.
  grpc::ByteBuffer EncodeStreamed(const InferAnswer& answer, std::string_view id, bool say_final,
                                  absl::Span<const OutputPlace> places = {});
  // `status` is not OK; the answer has its message, the request's id and the parameter "status",
  // its code by name. For UNAVAILABLE and RESOURCE_EXHAUSTED also the
  // parameter "retry_pushback_ms", where that is not 0.
  grpc::ByteBuffer EncodeStreamError(const absl::Status& status, std::string_view id,
                                     int64_t retry_pushback_ms);

 private:
  // Sets head_; the bytes that the raw contents take behind it.
  size_t SetHead(const InferAnswer& answer, std::string_view id,
                 absl::Span<const OutputPlace> places);
  uint8_t* WriteHeadAndRaw(const InferAnswer& answer, uint8_t* out);

  inference::ModelInferResponse head_;  // all of the response but the raw contents
  inference::ModelStreamInferResponse error_;
  std::vector<TensorView> rest_;  // of Place
  Classifier classifier_;
};

}  // namespace millrace
