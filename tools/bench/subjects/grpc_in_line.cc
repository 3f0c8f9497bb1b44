// Millrace's own kernel in a single process: gRPC on one completion queue, generated messages, and
// the prediction in line. What the pipeline of processes costs is what Millrace is slower than
// this, and what it gains is what it is faster.
#include <time.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "common/api/inference.grpc.pb.h"
#include "kernels/compile/compile.h"
#include "kernels/cpu/cpu_kernel.h"
#include "tools/bench/subjects/aligned_bytes.h"
#include "tools/bench/subjects/prediction.h"
#include "tools/bench/subjects/unary_server.h"

namespace millrace {
namespace {

using bench::AlignedBytes;
using inference::GRPCInferenceService;
using inference::ModelInferRequest;
using inference::ModelInferResponse;
using Service = GRPCInferenceService::WithAsyncMethod_ModelInfer<GRPCInferenceService::Service>;

constexpr int64_t kMaxRows = 4096;

// One model; the scratch is the one thread's of the one queue.
class Model {
 public:
  static absl::StatusOr<std::unique_ptr<Model>> Open(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    absl::StatusOr<CompiledModel> compiled = CompileModel(bytes, ModelFormat::kAuto);
    if (!compiled.ok()) return compiled.status();
    auto model = std::make_unique<Model>();
    model->plan_ = AlignedBytes(compiled->plan.size());
    memcpy(model->plan_.data(), compiled->plan.data(), compiled->plan.size());
    auto kernel = CpuBackend().OpenPlan({model->plan_.data(), model->plan_.size()});
    if (!kernel.ok()) return kernel.status();
    model->kernel_ = std::move(*kernel);
    const KernelShape& shape = model->kernel_->shape();
    if (shape.prediction_columns != 1 || shape.prediction_type != DataType::kFp32) {
      return absl::UnimplementedError("a model with one FP32 prediction a row is needed");
    }
    model->scratch_ = AlignedBytes(model->kernel_->ScratchBytes(kMaxRows));
    model->floats_.resize(kMaxRows * shape.features);
    model->predictions_.resize(kMaxRows);
    return model;
  }

  grpc::Status Predict(const ModelInferRequest& request, ModelInferResponse* response) {
    Matrix input;
    if (grpc::Status status = ReadMatrix(request, &input); !status.ok()) return status;
    if (input.columns != kernel_->shape().features || input.rows > kMaxRows) {
      return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "the shape does not fit the model");
    }
    // Protobuf's strings need not be aligned to their elements.
    memcpy(floats_.data(), input.data, input.rows * input.columns * sizeof(float));
    const KernelPiece piece = {floats_.data(), static_cast<size_t>(input.rows), nullptr,
                               predictions_.data()};
    const KernelBatch batch = {DataType::kFp32, {&piece, 1}, {scratch_.data(), scratch_.size()}};
    if (!kernel_->Run(batch).ok()) {
      return grpc::Status(grpc::StatusCode::INTERNAL, "the kernel failed");
    }
    WritePredictions(request, predictions_.data(), input.rows, response);
    return grpc::Status::OK;
  }

 private:
  AlignedBytes plan_;
  std::unique_ptr<Kernel> kernel_;
  AlignedBytes scratch_;
  std::vector<float> floats_;
  std::vector<float> predictions_;
};

// Of this thread's CPU time, as the planted cost of the other subject is: what takes the core away
// meanwhile is no work of the model's.
int64_t ThreadNanos() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void BurnUs(int64_t us) {
  const int64_t until_ns = ThreadNanos() + us * 1000;
  while (ThreadNanos() < until_ns) {
  }
}

// As servers of one process do it: the new one is made on the heap beside the old one, by another
// thread than serves, and takes its place.
class Models {
 public:
  bool Load(const std::string& name, const std::string& path) {
    absl::StatusOr<std::unique_ptr<Model>> model = Model::Open(path);
    if (!model.ok()) {
      std::cerr << path << ": " << model.status().message() << "\n";
      return false;
    }
    std::shared_ptr<Model> taken = std::move(*model);
    const std::lock_guard<std::mutex> lock(mutex_);
    models_[name].swap(taken);
    return true;
  }
  std::shared_ptr<Model> Find(const std::string& name) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = models_.find(name);
    return found == models_.end() ? nullptr : found->second;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Model>> models_;
};

int Main(int argc, char** argv) {
  CLI::App app(
      "Serves models by Millrace's kernel in line. Ends with its standard input. A line \"NAME "
      "FILE\" there "
      "loads that model again; \"loaded NAME\" is the answer.");
  Models models;
  std::vector<std::pair<std::string, std::string>> files;
  app.add_option("--model", files, "NAME FILE, with one prediction a row")->required();
  int64_t busy_us = 0;
  app.add_option("--busy_us_per_row", busy_us, "CPU time that each row costs beside the model's");
  CLI11_PARSE(app, argc, argv);
  for (const auto& [name, path] : files) {
    if (!models.Load(name, path)) return 1;
  }
  UnaryServer<Service, ModelInferRequest, ModelInferResponse> server(
      [&models, busy_us](const ModelInferRequest& request, ModelInferResponse* response) {
        const std::shared_ptr<Model> model = models.Find(request.model_name());
        if (model == nullptr) {
          return grpc::Status(grpc::StatusCode::NOT_FOUND, "no such model");
        }
        grpc::Status status = model->Predict(request, response);
        if (busy_us > 0 && status.ok()) BurnUs(busy_us * request.inputs(0).shape(0));
        return status;
      });
  server.OnLine([&models](const std::string& line) {
    const size_t space = line.find(' ');
    const std::string name = line.substr(0, space);
    const bool loaded = space != std::string::npos && models.Load(name, line.substr(space + 1));
    std::cout << (loaded ? "loaded " : "refused ") << name << std::endl;
  });
  return server.Serve(1) ? 0 : 1;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) { return millrace::Main(argc, argv); }
