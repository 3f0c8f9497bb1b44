// One prediction of a ModelInfer request, as a server written for one model reads and answers it.
//
// Purpose: what the bench's subjects that compute have in common; they differ in who predicts.
// Who may call: any thread. Ownership: the matrix lies in the request.
// What fails: ReadMatrix, with INVALID_ARGUMENT, for anything but one raw FP32 matrix.
#pragma once

#include <grpcpp/grpcpp.h>
#include <stdint.h>
#include <string.h>

#include <string>

#include "common/api/inference.pb.h"

namespace millrace {

struct Matrix {
  const float* data = nullptr;  // [rows, columns], perhaps not aligned
  int64_t rows = 0;
  int64_t columns = 0;
};

inline grpc::Status ReadMatrix(const inference::ModelInferRequest& request, Matrix* matrix) {
  const auto fault = [](const char* why) {
    return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, why);
  };
  if (request.inputs_size() != 1 || request.raw_input_contents_size() != 1 ||
      request.inputs(0).datatype() != "FP32" || request.inputs(0).shape_size() != 2) {
    return fault("one raw FP32 matrix is needed");
  }
  const int64_t rows = request.inputs(0).shape(0), columns = request.inputs(0).shape(1);
  const std::string& raw = request.raw_input_contents(0);
  const int64_t elements = static_cast<int64_t>(raw.size() / sizeof(float));
  if (rows <= 0 || columns <= 0 || elements % columns != 0 || elements / columns != rows) {
    return fault("the contents do not fit the shape");
  }
  *matrix = {reinterpret_cast<const float*>(raw.data()), rows, columns};
  return grpc::Status::OK;
}

// `predictions` is [rows, 1].
inline void WritePredictions(const inference::ModelInferRequest& request, const float* predictions,
                             int64_t rows, inference::ModelInferResponse* response) {
  response->set_model_name(request.model_name());
  response->set_model_version("1");
  auto* output = response->add_outputs();
  output->set_name("prediction");
  output->set_datatype("FP32");
  output->add_shape(rows);
  output->add_shape(1);
  response->add_raw_output_contents(predictions, rows * sizeof(float));
}

}  // namespace millrace
