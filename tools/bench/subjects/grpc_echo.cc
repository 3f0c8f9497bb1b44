// gRPC itself: a server that parses nothing, computes nothing, and answers every request with
// the same bytes, as long as Millrace's answer for one row of breast_cancer.
#include <CLI/CLI.hpp>

#include "common/api/inference.grpc.pb.h"
#include "tools/bench/subjects/unary_server.h"

namespace millrace {
namespace {

using inference::GRPCInferenceService;
using EchoService = GRPCInferenceService::WithRawMethod_ModelInfer<GRPCInferenceService::Service>;

grpc::ByteBuffer FixedAnswer() {
  inference::ModelInferResponse response;
  response.set_model_name("breast_cancer");
  response.set_model_version("1");
  auto* output = response.add_outputs();
  output->set_name("prediction");
  output->set_datatype("FP32");
  output->add_shape(1);
  output->add_shape(1);
  response.add_raw_output_contents(std::string(sizeof(float), '\0'));
  const grpc::Slice slice(response.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

int Main(int argc, char** argv) {
  CLI::App app("Answers every ModelInfer with the same bytes. Ends with its standard input.");
  int threads = 1;
  app.add_option("--threads", threads, "Each with a completion queue")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  UnaryServer<EchoService, grpc::ByteBuffer, grpc::ByteBuffer> server(
      [answer = FixedAnswer()](const grpc::ByteBuffer&, grpc::ByteBuffer* response) {
        *response = answer;
        return grpc::Status::OK;
      });
  return server.Serve(threads) ? 0 : 1;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) { return millrace::Main(argc, argv); }
