// Fuzz target: bodies of JSON, with and without binary tensors behind them, and of tensors alone.
//
// Each input is a body for every parser; where the v2 parser is told of a header's length, it is
// that of the first whole object. The region "r" is registered.
#include <stddef.h>
#include <stdint.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/check.h"
#include "services/ingress/client_shm/shared_memory_for_test.h"
#include "services/ingress/http/catalog_json.h"
#include "services/ingress/http/change_request.h"
#include "services/ingress/http/index_request.h"
#include "services/ingress/http/infer_parser.h"
#include "services/ingress/http/padded_for_test.h"
#include "services/ingress/http/predict_parser.h"
#include "services/ingress/testing/fake_frontend.h"

namespace millrace::http {
namespace {

struct Parsers {
  std::shared_ptr<const Catalog> catalog = FakeCatalog();
  InferParser infer{OneRegionForTest()};
  PredictParser predict;
  IndexRequestParser index;
  ChangeRequestParser change;
  ParsedInfer parsed;
};

// Behind the bracket that closes the first one; 0 where none does.
size_t FirstObject(std::string_view text) {
  size_t depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') in_string = !in_string;
    if (in_string) continue;
    if (text[i] == '{') ++depth;
    if (text[i] == '}' && depth > 0 && --depth == 0) return i + 1;
  }
  return 0;
}

// What is accepted is consistent: each tensor has as many bytes as its shape says.
void CheckTensors(const ParsedInfer& parsed) {
  for (const TensorView& input : parsed.inputs) {
    size_t count = 1;
    for (const int64_t dimension : input.shape) count *= static_cast<size_t>(dimension);
    const size_t width = DataTypeSize(input.datatype);
    MR_CHECK(width > 0 ? input.raw.size() == count * width : input.raw.size() >= count * 4,
             "a tensor's bytes are as many as its shape says");
  }
}

void CheckStatus(const absl::Status& status, const ParsedInfer& parsed) {
  // RESOURCE_EXHAUSTED: more of a region than a request may have. UNIMPLEMENTED: a change that
  // brings a model's files along.
  const bool refused = absl::IsInvalidArgument(status) || absl::IsResourceExhausted(status) ||
                       absl::IsUnimplemented(status);
  MR_CHECK(status.ok() || (refused && !status.message().empty()),
           "a body is fine, or wrong for a reason that is told");
  if (status.ok()) CheckTensors(parsed);
}

void Feed(Parsers* parsers, std::string_view text) {
  const std::string body = Padded(text);
  CheckStatus(parsers->infer.Parse(body, std::nullopt, &parsers->parsed), parsers->parsed);
  CheckStatus(parsers->infer.Parse(body, FirstObject(body), &parsers->parsed), parsers->parsed);
  for (const char* model : {"plain", "viewed"}) {
    const Model& signature = **FindModel(parsers->catalog.get(), model, "");
    CheckStatus(parsers->predict.Parse(body, signature, &parsers->parsed), parsers->parsed);
    CheckStatus(parsers->infer.ParseRaw(body, signature, &parsers->parsed), parsers->parsed);
  }
  bool only_ready = false;
  ModelChange change;
  parsers->parsed.Clear();
  CheckStatus(parsers->index.Parse(body, &only_ready), parsers->parsed);
  CheckStatus(parsers->change.Parse(body, &change), parsers->parsed);
}

}  // namespace
}  // namespace millrace::http

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto* const parsers = new millrace::http::Parsers();
  millrace::http::Feed(parsers, {reinterpret_cast<const char*>(data), size});
  return 0;
}
