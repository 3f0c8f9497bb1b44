// What a user would write instead of Millrace: one process, gRPC, and XGBoost's C library, which
// predicts in place from the request's bytes with one thread.
#include <xgboost/c_api.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "common/api/inference.grpc.pb.h"
#include "tools/bench/subjects/prediction.h"
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

grpc::Status Predict(BoosterHandle booster, const ModelInferRequest& request,
                     ModelInferResponse* response) {
  Matrix input;
  if (grpc::Status status = ReadMatrix(request, &input); !status.ok()) return status;
  char matrix[160];
  absl::SNPrintF(matrix, sizeof matrix,
                 R"({"data":[%d,true],"shape":[%d,%d],"typestr":"<f4","version":3})",
                 reinterpret_cast<uintptr_t>(input.data), input.rows, input.columns);
  const bst_ulong* shape = nullptr;
  bst_ulong dimensions = 0;
  const float* predictions = nullptr;
  thread_local const Proxy proxy;
  if (XGBoosterPredictFromDense(booster, matrix, kPredict, proxy.matrix, &shape, &dimensions,
                                &predictions) != 0) {
    return grpc::Status(grpc::StatusCode::INTERNAL, XGBGetLastError());
  }
  WritePredictions(request, predictions, input.rows, response);
  return grpc::Status::OK;
}

int Main(int argc, char** argv) {
  CLI::App app("Serves models by XGBoost's C library. Ends with its standard input.");
  std::vector<std::pair<std::string, std::string>> files;
  app.add_option("--model", files, "NAME FILE, .json or .ubj, with one output a row")->required();
  CLI11_PARSE(app, argc, argv);
  std::map<std::string, BoosterHandle> boosters;
  for (const auto& [name, path] : files) {
    BoosterHandle& booster = boosters[name];
    if (XGBoosterCreate(nullptr, 0, &booster) != 0 ||
        XGBoosterLoadModel(booster, path.c_str()) != 0 ||
        XGBoosterSetParam(booster, "nthread", "1") != 0) {
      std::cerr << path << ": " << XGBGetLastError() << "\n";
      return 1;
    }
  }
  UnaryServer<Service, ModelInferRequest, ModelInferResponse> server(
      [&boosters](const ModelInferRequest& request, ModelInferResponse* response) {
        const auto booster = boosters.find(request.model_name());
        if (booster == boosters.end()) {
          return grpc::Status(grpc::StatusCode::NOT_FOUND, "no such model");
        }
        return Predict(booster->second, request, response);
      });
  const bool served = server.Serve(1);
  for (const auto& [name, booster] : boosters) XGBoosterFree(booster);
  return served ? 0 : 1;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) { return millrace::Main(argc, argv); }
