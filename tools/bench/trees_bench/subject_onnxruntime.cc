// ONNX Runtime: the same forest as one TreeEnsembleRegressor, one thread, all optimizations, input
// and output bound beforehand for every chunk of rows.
#include "absl/strings/str_cat.h"
#include "tools/bench/trees_bench/onnxruntime_api.h"
#include "tools/bench/trees_bench/subject.h"

namespace millrace::bench {
namespace {

using Handle = OnnxRuntimeApi::Handle;

class OnnxRuntimeSubject : public Subject {
 public:
  OnnxRuntimeSubject(std::string name, const OnnxRuntimeApi& api, const Rows& rows)
      : name_(std::move(name)), api_(api), rows_(rows), store_(rows, DataType::kFp32) {}

  ~OnnxRuntimeSubject() override {
    Unbind();
    if (session_ != nullptr) api_.ReleaseSession(session_);
    if (options_ != nullptr) api_.ReleaseSessionOptions(options_);
    if (run_options_ != nullptr) api_.ReleaseRunOptions(run_options_);
    if (memory_ != nullptr) api_.ReleaseMemoryInfo(memory_);
  }

  absl::Status Open(const std::string& model) {
    static Handle environment = nullptr;  // one a process, as long as it lives
    if (environment == nullptr) {
      MR_BENCH_RETURN_IF_ERROR(
          api_.Ok(api_.CreateEnv(OnnxRuntimeApi::kWarning, "bench", &environment)));
      MR_BENCH_RETURN_IF_ERROR(api_.Ok(api_.DisableTelemetry(environment)));
    }
    MR_BENCH_RETURN_IF_ERROR(api_.Ok(api_.CreateSessionOptions(&options_)));
    MR_BENCH_RETURN_IF_ERROR(api_.Ok(api_.SetExecutionMode(options_, OnnxRuntimeApi::kSequential)));
    MR_BENCH_RETURN_IF_ERROR(
        api_.Ok(api_.SetOptimizationLevel(options_, OnnxRuntimeApi::kAllOptimizations)));
    MR_BENCH_RETURN_IF_ERROR(api_.Ok(api_.SetIntraOpThreads(options_, 1)));
    MR_BENCH_RETURN_IF_ERROR(api_.Ok(api_.SetInterOpThreads(options_, 1)));
    MR_BENCH_RETURN_IF_ERROR(
        api_.Ok(api_.CreateSession(environment, model.c_str(), options_, &session_)));
    MR_BENCH_RETURN_IF_ERROR(api_.Ok(api_.CreateRunOptions(&run_options_)));
    return api_.Ok(api_.CreateCpuMemoryInfo(OnnxRuntimeApi::kDeviceAllocator,
                                            OnnxRuntimeApi::kDefaultMemory, &memory_));
  }

  std::string name() const override { return name_; }
  DataType margin_type() const override { return DataType::kFp32; }
  bool exact() const override { return false; }

  absl::Status Prepare(size_t batch) override {
    Unbind();
    store_.SetBatch(batch);
    for (size_t chunk = 0; chunk < rows_.rows / batch; ++chunk) {
      bindings_.emplace_back();
      MR_BENCH_RETURN_IF_ERROR(Bind(chunk, batch, &bindings_.back()));
    }
    return absl::OkStatus();
  }

  bool Call(size_t chunk) override {
    status_ = api_.Ok(api_.RunBound(session_, run_options_, bindings_[chunk].binding));
    return status_.ok();
  }

  std::string fault() const override { return absl::StrCat("ONNX Runtime: ", status_.ToString()); }
  const std::byte* margins(size_t chunk) const override { return store_.Chunk(chunk); }
  void Poison() override { store_.Poison(); }

 private:
  struct Binding {
    Handle input = nullptr, output = nullptr, binding = nullptr;
  };

  absl::Status Bind(size_t chunk, size_t batch, Binding* out) const {
    const int64_t count = static_cast<int64_t>(batch);
    const int64_t in[2] = {count, static_cast<int64_t>(rows_.features)};
    const int64_t margins[2] = {count, static_cast<int64_t>(rows_.groups)};
    MR_BENCH_RETURN_IF_ERROR(api_.Ok(api_.CreateTensor(
        memory_, const_cast<float*>(rows_.Chunk(chunk, batch)),
        batch * rows_.features * sizeof(float), in, 2, OnnxRuntimeApi::kFloat, &out->input)));
    MR_BENCH_RETURN_IF_ERROR(api_.Ok(
        api_.CreateTensor(memory_, store_.Chunk(chunk), batch * rows_.groups * sizeof(float),
                          margins, 2, OnnxRuntimeApi::kFloat, &out->output)));
    MR_BENCH_RETURN_IF_ERROR(api_.Ok(api_.CreateBinding(session_, &out->binding)));
    MR_BENCH_RETURN_IF_ERROR(api_.Ok(api_.BindInput(out->binding, "rows", out->input)));
    return api_.Ok(api_.BindOutput(out->binding, "margins", out->output));
  }

  void Unbind() {
    for (const Binding& binding : bindings_) {
      if (binding.binding != nullptr) api_.ReleaseBinding(binding.binding);
      if (binding.input != nullptr) api_.ReleaseValue(binding.input);
      if (binding.output != nullptr) api_.ReleaseValue(binding.output);
    }
    bindings_.clear();
  }

  const std::string name_;
  const OnnxRuntimeApi api_;
  const Rows rows_;
  MarginStore store_;
  Handle options_ = nullptr, session_ = nullptr, run_options_ = nullptr, memory_ = nullptr;
  std::vector<Binding> bindings_;
  absl::Status status_;
};

}  // namespace

SubjectOr MakeOnnxRuntime(const Case& test_case, const PeerLibrary& library) {
  auto api = OnnxRuntimeApi::Load(library.path);
  if (!api.ok()) return api.status();
  auto subject = std::make_unique<OnnxRuntimeSubject>(library.subject, *api, test_case.view());
  MR_BENCH_RETURN_IF_ERROR(subject->Open(test_case.onnx));
  return SubjectOr(std::move(subject));
}

}  // namespace millrace::bench
