// What a user would write instead of Millrace: one process, gRPC, and XGBoost's C library, which
// predicts in place from the request's bytes with one thread.
#include <xgboost/c_api.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "absl/strings/str_format.h"
#include "common/api/inference.grpc.pb.h"
#include "tools/bench/subjects/unary_server.h"

namespace millrace {
namespace {

using inference::GRPCInferenceService;
using inference::ModelInferRequest;
using inference::ModelInferResponse;
using Service = GRPCInferenceService::WithAsyncMethod_ModelInfer<GRPCInferenceService::Service>;

constexpr char kPredict[] =
    R"({"type":0,"training":false,"iteration_begin":0,"iteration_end":0,"strict_shape":false,)"
    R"("missing":NaN,"cache_id":0})";

// What XGBoost would make anew for each call without it: 7 us a call instead of 50.
struct Proxy {
  DMatrixHandle matrix = nullptr;
  Proxy() { XGProxyDMatrixCreate(&matrix); }
  ~Proxy() { XGDMatrixFree(matrix); }
};

grpc::Status Fault(const char* why) {
  return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, why);
}

grpc::Status Predict(BoosterHandle booster, const ModelInferRequest& request,
                     ModelInferResponse* response) {
  if (request.inputs_size() != 1 || request.raw_input_contents_size() != 1 ||
      request.inputs(0).datatype() != "FP32" || request.inputs(0).shape_size() != 2) {
    return Fault("one raw FP32 matrix is needed");
  }
  const int64_t rows = request.inputs(0).shape(0), columns = request.inputs(0).shape(1);
  const std::string& raw = request.raw_input_contents(0);
  const int64_t elements = static_cast<int64_t>(raw.size() / sizeof(float));
  if (rows <= 0 || columns <= 0 || elements % columns != 0 || elements / columns != rows) {
    return Fault("the contents do not fit the shape");
  }
  char matrix[160];
  absl::SNPrintF(matrix, sizeof matrix,
                 R"({"data":[%d,true],"shape":[%d,%d],"typestr":"<f4","version":3})",
                 reinterpret_cast<uintptr_t>(raw.data()), rows, columns);
  const bst_ulong* shape = nullptr;
  bst_ulong dimensions = 0;
  const float* predictions = nullptr;
  thread_local const Proxy proxy;
  if (XGBoosterPredictFromDense(booster, matrix, kPredict, proxy.matrix, &shape, &dimensions,
                                &predictions) != 0) {
    return grpc::Status(grpc::StatusCode::INTERNAL, XGBGetLastError());
  }
  response->set_model_name(request.model_name());
  response->set_model_version("1");
  auto* output = response->add_outputs();
  output->set_name("prediction");
  output->set_datatype("FP32");
  output->add_shape(rows);
  output->add_shape(1);
  response->add_raw_output_contents(predictions, rows * sizeof(float));
  return grpc::Status::OK;
}

int Main(int argc, char** argv) {
  CLI::App app("Serves one XGBoost model by XGBoost's C library. Ends with its standard input.");
  int threads = 1;
  std::string model;
  app.add_option("--threads", threads, "Each with a completion queue")->check(CLI::PositiveNumber);
  app.add_option("--model", model, "File, .json or .ubj, with one output a row")->required();
  CLI11_PARSE(app, argc, argv);
  BoosterHandle booster = nullptr;
  if (XGBoosterCreate(nullptr, 0, &booster) != 0 ||
      XGBoosterLoadModel(booster, model.c_str()) != 0 ||
      XGBoosterSetParam(booster, "nthread", "1") != 0) {
    std::cerr << model << ": " << XGBGetLastError() << "\n";
    return 1;
  }
  UnaryServer<Service, ModelInferRequest, ModelInferResponse> server(
      [booster](const ModelInferRequest& request, ModelInferResponse* response) {
        return Predict(booster, request, response);
      });
  const bool served = server.Serve(threads);
  XGBoosterFree(booster);
  return served ? 0 : 1;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) { return millrace::Main(argc, argv); }
