// A plan on the CPU and perhaps on a device: each batch goes where it was found to be faster.
//
// Purpose: the Kernel that execution runs. Batches of device_from_rows() rows and more go to the
//   device, the others to the CPU; what the device cannot take ends on the CPU.
// Who may call: as kernel.h says; Choose... before the kernel is shared. Ownership: owns both.
// Invariants:
//   1. A batch is answered whole and right whatever the device says, unless it is lost.
//   2. Out of device memory: the batch is halved once; a half that fails again, and what is behind
//      it, runs on the CPU. Every other refusal of the device goes to the CPU at once. All are
//      counted in the tally.
//   3. Run allocates nothing. Other inputs than FP32, and more than kMaxDevicePieces pieces, go to
//      the CPU.
// Fails: Run with Internal where the device is lost: end the process.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "kernels/device/measure.h"
#include "kernels/kernel.h"

namespace millrace {

// What became of one batch. Added to, never reset, by Run.
struct DispatchTally {
  uint64_t device_batches = 0;  // given to the device first
  uint64_t halved = 0;          // out of device memory: run as two
  uint64_t fell_back = 0;       // the device's, and at least a part ran on the CPU
  // Runs on the device, in order: of the batch or of its halves.
  std::array<KernelTimes, 2> times = {};
  size_t timed = 0;
};

class DispatchKernel final : public Kernel {
 public:
  // `device`: null where there is none.
  DispatchKernel(std::unique_ptr<Kernel> cpu, std::unique_ptr<Kernel> device);

  const KernelShape& shape() const override { return cpu_->shape(); }
  size_t ScratchBytes(size_t rows) const override;
  absl::Status Run(const KernelBatch& batch) const override;
  absl::Status Run(const KernelBatch& batch, DispatchTally* tally) const;
  absl::Status RunOnCpu(const KernelBatch& batch) const { return cpu_->Run(batch); }

  // Measures, and keeps the crossover. As MeasureBuckets; needs a device.
  absl::Status ChooseByMeasure(uint64_t max_rows, absl::Span<const float> rows,
                               const MeasureLimits& limits);
  // Batches of so many rows and more are the device's, unmeasured.
  void ChooseFrom(uint64_t rows);

  bool has_device() const { return device_ != nullptr; }
  uint64_t device_from_rows() const { return device_from_rows_; }  // kNever: none
  absl::Span<const Bucket> buckets() const { return buckets_; }    // empty: not measured

  static constexpr uint64_t kNever = UINT64_MAX;

 private:
  absl::Status RunOnDevice(KernelBatch batch, DispatchTally* tally) const;
  absl::Status RunHalves(const KernelBatch& batch, size_t rows, DispatchTally* tally) const;

  const std::unique_ptr<Kernel> cpu_;
  const std::unique_ptr<Kernel> device_;
  std::vector<Bucket> buckets_;
  uint64_t device_from_rows_ = kNever;
};

}  // namespace millrace
