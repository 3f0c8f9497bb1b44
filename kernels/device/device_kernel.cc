#include "kernels/device/device_kernel.h"

#include <string.h>

#include <mutex>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "kernels/plan/tree_plan.h"
#include "kernels/reference/evaluate.h"
#include "kernels/shape.h"

namespace millrace {
namespace {

absl::string_view Sentence(const DeviceError& error) {
  return {error.sentence, strnlen(error.sentence, sizeof error.sentence)};
}

class DeviceKernel final : public Kernel {
 public:
  // Takes over `model`.
  DeviceKernel(const DevicePlugin* plugin, DeviceModel* model, const TreePlan& plan)
      : plugin_(plugin), model_(model), plan_(plan), shape_(ShapeOf(plan)) {
    shape_.accepts_fp64 = false;
    pieces_.reserve(kMaxDevicePieces);
  }
  ~DeviceKernel() override { plugin_->close(model_); }

  const KernelShape& shape() const override { return shape_; }

  // Margins that nobody asked for.
  size_t ScratchBytes(size_t rows) const override { return rows * MarginBytes(); }

  absl::Status Run(const KernelBatch& batch) const override {
    MR_CHECK(batch.input_type == DataType::kFp32, "other input types are the CPU's");
    MR_CHECK(batch.pieces.size() <= kMaxDevicePieces, "the caller bounds the pieces of a batch");
    std::lock_guard<std::mutex> lock(mutex_);
    pieces_.clear();
    std::byte* spare = batch.scratch.data();
    for (const KernelPiece& piece : batch.pieces) {
      if (piece.rows == 0) continue;
      void* margins = piece.margins;
      if (margins == nullptr) {
        margins = spare;
        spare += piece.rows * MarginBytes();
      }
      pieces_.push_back({piece.input, piece.rows, margins});
    }
    MR_CHECK(static_cast<size_t>(spare - batch.scratch.data()) <= batch.scratch.size(),
             "scratch is sized in advance");
    if (pieces_.empty()) return absl::OkStatus();
    DeviceError error = {};
    const DeviceCode code = plugin_->run(model_, pieces_.data(), pieces_.size(), &error);
    if (code == DeviceCode::kLost) return absl::InternalError(Sentence(error));
    // Without a sentence: a status with one allocates.
    if (code != DeviceCode::kOk) return absl::Status(StatusCodeOf(code), "");
    if (batch.times != nullptr && plugin_->last_times != nullptr) Tell(batch.times);
    Predict(batch);
    return absl::OkStatus();
  }

 private:
  size_t MarginBytes() const { return shape_.groups * DataTypeSize(shape_.margin_type); }

  void Tell(KernelTimes* to) const {
    DeviceTimes times = {};
    plugin_->last_times(model_, &times);
    *to = {times.begin_ns, times.brought_ns, times.launched_ns, times.done_ns, times.end_ns};
  }

  void Predict(const KernelBatch& batch) const {
    size_t at = 0;
    for (const KernelPiece& piece : batch.pieces) {
      if (piece.rows == 0) continue;
      const DevicePiece& done = pieces_[at++];
      if (piece.predictions != nullptr) {
        reference::Predictions(plan_, done.margins, piece.rows, piece.predictions);
      }
    }
  }

  const DevicePlugin* const plugin_;
  DeviceModel* const model_;
  const TreePlan plan_;
  KernelShape shape_;
  mutable std::mutex mutex_;  // Run
  mutable std::vector<DevicePiece> pieces_;
};

}  // namespace

absl::StatusCode StatusCodeOf(DeviceCode code) {
  switch (code) {
    case DeviceCode::kOk:
      return absl::StatusCode::kOk;
    case DeviceCode::kOutOfMemory:
      return absl::StatusCode::kResourceExhausted;
    case DeviceCode::kLost:
      return absl::StatusCode::kInternal;
    case DeviceCode::kInvalid:
      return absl::StatusCode::kInvalidArgument;
    default:
      return absl::StatusCode::kUnimplemented;
  }
}

absl::StatusOr<std::unique_ptr<Kernel>> DeviceBackend::OpenPlan(
    absl::Span<const std::byte> image) const {
  uint64_t device_bytes;
  return OpenPlan(image, &device_bytes);
}

absl::StatusOr<std::unique_ptr<Kernel>> DeviceBackend::OpenPlan(absl::Span<const std::byte> image,
                                                                uint64_t* device_bytes) const {
  absl::StatusOr<TreePlan> plan = TreePlan::Open(image);
  if (!plan.ok()) return plan.status();
  DeviceModel* model = nullptr;
  DeviceError error = {};
  const DeviceCode code = plugin_->open(image.data(), image.size(), &options_, &model, &error);
  if (code != DeviceCode::kOk) return absl::Status(StatusCodeOf(code), Sentence(error));
  MR_CHECK(model != nullptr, "a plug-in that opened a model names it");
  *device_bytes = plugin_->device_bytes(model);
  return std::make_unique<DeviceKernel>(plugin_, model, *plan);
}

}  // namespace millrace
