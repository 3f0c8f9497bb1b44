// What execution needs of a kernel: the seam behind which the reference, vector and CUDA versions
// stand.
//
// Purpose: a backend turns the mapped bytes of a plan into a Kernel; a Kernel runs batches.
// Who may call: backends and kernels are immutable and may be shared by threads; two calls of Run()
//   at once need two scratch buffers.
// Ownership: the plan's bytes stay mapped, unchanged, and owned by the caller for the life of the
//   Kernel. Run() keeps no pointer after it returned.
// Invariants:
//   1. A row's outputs do not depend on what else is in the batch, nor on the backend.
//   2. Run() allocates nothing on the host and does not throw.
//   3. Everything in shape() is final once the plan is open.
// Fails: OpenPlan with InvalidArgument for a plan that does not check. Run() returns OK on a CPU
//   always; a device may return ResourceExhausted (run a smaller batch, then elsewhere) or Internal
//   (the device is lost; end the process).
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/datatype.h"

namespace millrace {

struct KernelShape {
  uint32_t features;            // columns of the input
  uint32_t groups;              // columns of the margins
  uint32_t prediction_columns;  // columns of the predictions
  DataType margin_type;
  DataType prediction_type;
  bool accepts_fp64;  // FP32 is always accepted
  std::string objective;
  std::vector<std::string> feature_names;  // empty, or one a feature

  bool Accepts(DataType type) const {
    return type == DataType::kFp32 || (accepts_fp64 && type == DataType::kFp64);
  }
};

// A part of a batch: the rows of one request. All matrices are dense and row-major, aligned to
// their element.
struct KernelPiece {
  const void* input;  // [rows, features] of the batch's input type
  size_t rows;
  void* margins;      // [rows, groups]; may be null where only predictions are wanted
  void* predictions;  // [rows, prediction_columns]; may be null where only margins are
};

// When the steps of a batch on a device ended, CLOCK_MONOTONIC (kernels/device/plugin.h). All 0:
// not known.
struct KernelTimes {
  int64_t begin_ns = 0, brought_ns = 0, launched_ns = 0, done_ns = 0, end_ns = 0;
};

// Rows that are run together, each read and answered where its request has it.
struct KernelBatch {
  DataType input_type;  // the shape must accept it
  absl::Span<const KernelPiece> pieces;
  absl::Span<std::byte> scratch;  // at least ScratchBytes(rows()), aligned to 64
  KernelTimes* times = nullptr;   // filled by a run on a device; null: nobody asks

  size_t rows() const {
    size_t sum = 0;
    for (const KernelPiece& piece : pieces) sum += piece.rows;
    return sum;
  }
};

class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual const KernelShape& shape() const = 0;
  // Grows with `rows`: what suffices for a batch suffices for every smaller one.
  virtual size_t ScratchBytes(size_t rows) const = 0;
  virtual absl::Status Run(const KernelBatch& batch) const = 0;
};

class KernelBackend {
 public:
  virtual ~KernelBackend() = default;
  virtual std::string_view name() const = 0;
  virtual absl::StatusOr<std::unique_ptr<Kernel>> OpenPlan(
      absl::Span<const std::byte> plan) const = 0;
};

// The scalar reference; lives as long as the process.
const KernelBackend& ReferenceBackend();

}  // namespace millrace
