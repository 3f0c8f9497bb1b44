// Millrace's kernel, as execution calls it: a batch of one piece.
#include <cstring>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "kernels/compile/compile.h"
#include "kernels/cpu/cpu_kernel.h"
#include "kernels/kernel.h"
#include "tools/bench/trees_bench/shared_library.h"
#include "tools/bench/trees_bench/subject.h"

namespace millrace::bench {
namespace {

const KernelBackend& Backend() { return CpuBackend(); }

class MillraceSubject : public Subject {
 public:
  MillraceSubject(const Rows& rows, CompiledModel model)
      : rows_(rows), plan_(model.plan.size()), scratch_(0) {
    std::memcpy(plan_.data(), model.plan.data(), plan_.size());
  }

  absl::Status Open(DataType margin_type) {
    auto kernel = Backend().OpenPlan({plan_.data(), plan_.size()});
    if (!kernel.ok()) return kernel.status();
    kernel_ = *std::move(kernel);
    const KernelShape& shape = kernel_->shape();
    if (shape.features != rows_.features || shape.groups != rows_.groups ||
        shape.margin_type != margin_type) {
      return absl::InvalidArgumentError("the plan's shape is not the case's");
    }
    store_ = std::make_unique<MarginStore>(rows_, margin_type);
    return absl::OkStatus();
  }

  std::string name() const override { return "millrace"; }
  DataType margin_type() const override { return kernel_->shape().margin_type; }

  absl::Status Prepare(size_t batch) override {
    batch_ = batch;
    scratch_ = AlignedBytes(kernel_->ScratchBytes(batch));
    store_->SetBatch(batch);
    return absl::OkStatus();
  }

  bool Call(size_t chunk) override {
    const KernelPiece piece{.input = rows_.Chunk(chunk, batch_),
                            .rows = batch_,
                            .margins = store_->Chunk(chunk),
                            .predictions = nullptr};
    const KernelBatch batch{.input_type = DataType::kFp32,
                            .pieces = {&piece, 1},
                            .scratch = {scratch_.data(), scratch_.size()}};
    status_ = kernel_->Run(batch);
    return status_.ok();
  }

  std::string fault() const override { return status_.ToString(); }
  const std::byte* margins(size_t chunk) const override { return store_->Chunk(chunk); }
  void Poison() override { store_->Poison(); }

 private:
  const Rows rows_;
  const AlignedBytes plan_;
  std::unique_ptr<Kernel> kernel_;
  std::unique_ptr<MarginStore> store_;
  AlignedBytes scratch_;
  size_t batch_ = 0;
  absl::Status status_;
};

}  // namespace

std::string MillraceBackend() { return std::string(Backend().name()); }

SubjectOr MakeMillrace(const Case& test_case) {
  std::ifstream in(test_case.model, std::ios::binary);
  const std::string file{std::istreambuf_iterator<char>(in), {}};
  auto model = CompileModel(file, ModelFormat::kAuto);
  if (!model.ok()) return model.status();
  auto subject = std::make_unique<MillraceSubject>(test_case.view(), *std::move(model));
  MR_BENCH_RETURN_IF_ERROR(subject->Open(test_case.margin_type()));
  return SubjectOr(std::move(subject));
}

}  // namespace millrace::bench
