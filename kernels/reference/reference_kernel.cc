
#include "common/check.h"
#include "kernels/kernel.h"
#include "kernels/plan/tree_plan.h"
#include "kernels/reference/evaluate.h"
#include "kernels/shape.h"

namespace millrace {
namespace {

class ReferenceKernel final : public Kernel {
 public:
  explicit ReferenceKernel(const TreePlan& plan) : plan_(plan), shape_(ShapeOf(plan)) {}

  const KernelShape& shape() const override { return shape_; }

  // Margins that nobody asked for are kept here.
  size_t ScratchBytes(size_t rows) const override {
    return rows * shape_.groups * DataTypeSize(shape_.margin_type);
  }

  absl::Status Run(const KernelBatch& batch) const override {
    MR_CHECK(shape_.Accepts(batch.input_type), "the caller checks the input's type");
    for (const KernelPiece& piece : batch.pieces) {
      void* margins = piece.margins;
      if (margins == nullptr) {
        MR_CHECK(batch.scratch.size() >= ScratchBytes(piece.rows), "scratch is sized in advance");
        margins = batch.scratch.data();
      }
      reference::Margins(plan_, batch.input_type, piece.input, piece.rows, margins);
      if (piece.predictions != nullptr) {
        reference::Predictions(plan_, margins, piece.rows, piece.predictions);
      }
    }
    return absl::OkStatus();
  }

 private:
  const TreePlan plan_;
  const KernelShape shape_;
};

class Reference final : public KernelBackend {
 public:
  std::string_view name() const override { return "reference"; }

  absl::StatusOr<std::unique_ptr<Kernel>> OpenPlan(
      absl::Span<const std::byte> image) const override {
    absl::StatusOr<TreePlan> plan = TreePlan::Open(image);
    if (!plan.ok()) return plan.status();
    return std::make_unique<ReferenceKernel>(*plan);
  }
};

}  // namespace

const KernelBackend& ReferenceBackend() {
  static const Reference backend;
  return backend;
}

}  // namespace millrace
