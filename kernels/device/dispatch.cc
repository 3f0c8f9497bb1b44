#include "kernels/device/dispatch.h"

#include <algorithm>
#include <array>

#include "common/check.h"
#include "kernels/device/plugin.h"

namespace millrace {
namespace {

// The pieces of one half of a batch: a piece on the border stands in both, in parts.
struct Half {
  std::array<KernelPiece, kMaxDevicePieces> pieces;
  size_t count = 0;
};

std::byte* At(const void* matrix, size_t row, size_t row_bytes) {
  auto* bytes = static_cast<std::byte*>(const_cast<void*>(matrix));
  return bytes == nullptr ? nullptr : bytes + row * row_bytes;
}

// Rows [begin, end) of the batch.
Half RowsOf(const KernelBatch& batch, const KernelShape& shape, size_t begin, size_t end) {
  const size_t in = shape.features * DataTypeSize(batch.input_type);
  const size_t margin = shape.groups * DataTypeSize(shape.margin_type);
  const size_t prediction = shape.prediction_columns * DataTypeSize(shape.prediction_type);
  Half half;
  size_t first = 0;  // row of the batch at which this piece starts
  for (const KernelPiece& piece : batch.pieces) {
    const size_t from = std::max(begin, first), to = std::min(end, first + piece.rows);
    if (from < to) {
      const size_t skip = from - first;
      half.pieces[half.count++] = {At(piece.input, skip, in), to - from,
                                   At(piece.margins, skip, margin),
                                   At(piece.predictions, skip, prediction)};
    }
    first += piece.rows;
  }
  return half;
}

bool OutOfMemory(const absl::Status& status) { return absl::IsResourceExhausted(status); }

}  // namespace

DispatchKernel::DispatchKernel(std::unique_ptr<Kernel> cpu, std::unique_ptr<Kernel> device)
    : cpu_(std::move(cpu)), device_(std::move(device)) {
  MR_CHECK(cpu_ != nullptr, "every plan runs on the CPU");
}

size_t DispatchKernel::ScratchBytes(size_t rows) const {
  const size_t cpu = cpu_->ScratchBytes(rows);
  return device_ == nullptr ? cpu : std::max(cpu, device_->ScratchBytes(rows));
}

absl::Status DispatchKernel::Run(const KernelBatch& batch) const {
  DispatchTally unheard;
  return Run(batch, &unheard);
}

absl::Status DispatchKernel::Run(const KernelBatch& batch, DispatchTally* tally) const {
  if (device_ == nullptr || batch.input_type != DataType::kFp32 ||
      batch.pieces.size() > kMaxDevicePieces) {
    return cpu_->Run(batch);
  }
  const size_t rows = batch.rows();
  if (rows < device_from_rows_) return cpu_->Run(batch);
  ++tally->device_batches;
  const absl::Status status = RunOnDevice(batch, tally);
  if (status.ok() || absl::IsInternal(status)) return status;
  if (OutOfMemory(status) && rows > 1) return RunHalves(batch, rows, tally);
  ++tally->fell_back;
  return cpu_->Run(batch);
}

absl::Status DispatchKernel::RunOnDevice(KernelBatch batch, DispatchTally* tally) const {
  if (tally->timed == tally->times.size()) return device_->Run(batch);
  KernelTimes& times = tally->times[tally->timed];
  batch.times = &times;
  absl::Status status = device_->Run(batch);
  if (status.ok() && times.end_ns != 0) ++tally->timed;
  return status;
}

absl::Status DispatchKernel::RunHalves(const KernelBatch& batch, size_t rows,
                                       DispatchTally* tally) const {
  ++tally->halved;
  bool device = true;
  for (const auto& [begin, end] : {std::pair(size_t{0}, rows / 2), std::pair(rows / 2, rows)}) {
    const Half half = RowsOf(batch, shape(), begin, end);
    const KernelBatch part = {
        batch.input_type, {half.pieces.data(), half.count}, batch.scratch, nullptr};
    if (device) {
      const absl::Status status = RunOnDevice(part, tally);
      if (absl::IsInternal(status)) return status;
      if (status.ok()) continue;
      device = false;
      ++tally->fell_back;
    }
    if (absl::Status status = cpu_->Run(part); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status DispatchKernel::ChooseByMeasure(uint64_t max_rows, absl::Span<const float> rows,
                                             const MeasureLimits& limits) {
  MR_CHECK(device_ != nullptr, "there is nothing to choose without a device");
  auto buckets = MeasureBuckets(*cpu_, *device_, max_rows, rows, limits);
  if (!buckets.ok()) return buckets.status();
  buckets_ = std::move(*buckets);
  const size_t first = ChooseCrossover(buckets_);
  // A bucket holds what is above the one before it.
  device_from_rows_ = first == buckets_.size() ? kNever
                      : first == 0             ? 1
                                               : buckets_[first - 1].rows + 1;
  return absl::OkStatus();
}

void DispatchKernel::ChooseFrom(uint64_t rows) {
  MR_CHECK(device_ != nullptr, "there is nothing to choose without a device");
  device_from_rows_ = std::max<uint64_t>(rows, 1);
}

}  // namespace millrace
