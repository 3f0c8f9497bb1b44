// Fuzz target: ModelInferRequest as it comes over the wire, where clients may have regions.
#include <stddef.h>
#include <stdint.h>

#include "common/check.h"
#include "common/datatype.h"
#include "services/ingress/client_shm/shared_memory_for_test.h"
#include "services/ingress/grpc/infer_decoder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace;  // NOLINT: a function of C
  static auto* const decoder = new InferDecoder(OneRegionForTest());
  const grpc::Slice slice(data, size);
  grpc::ByteBuffer wire(&slice, 1);
  const absl::Status status = decoder->Decode(&wire);
  MR_CHECK(status.ok() || !status.message().empty(), "what is wrong is told");
  if (status.ok()) {
    for (const TensorView& input : decoder->request().inputs) {
      MR_CHECK(input.datatype != DataType::kInvalid, "a tensor has a datatype");
      // Each byte is there: a sanitizer looks on.
      volatile char last = 0;
      for (const char c : input.raw) last = c;
      (void)last;
    }
  }
  decoder->Release();
  return 0;
}
