// A forest on the device, and its runs.
//
// Purpose: Open copies a plan to the device, sizes the pools for the largest batch, and captures a
//   graph for each bucket (powers of two of rows) and each way in which rows come; Run fills the
//   header, launches one graph, waits and copies the margins out.
// Who may call: Open and the destructor any thread; Run one thread at a time.
// Ownership: the model owns its stream, graphs, pool on the device and pinned block. It keeps no
//   pointer into the plan.
// Invariants:
//   1. Run allocates nothing, on the host or on the device: every kernel ran once in Open.
//   2. A graph knows only addresses of the pool and of the pinned block, so one graph serves every
//      call of its bucket; what differs is in the header, the row table and the rows.
//   3. When Run returns, the device reads nothing of the caller's, unless it returned kLost.
// Fails: kOutOfMemory (the device is well), kLost, kInvalid (too many rows), kUnsupported.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/cuda/forest.h"
#include "kernels/cuda/forest_image.h"
#include "kernels/cuda/host_registry.h"
#include "kernels/cuda/launch.h"
#include "kernels/device/plugin.h"
#include "kernels/plan/plan_view.h"

namespace millrace::cuda {

// What Start found out about the device.
struct DeviceFacts {
  int device = 0;
  DeviceLimits limits;
  bool reads_host_memory = false;
};

// How the rows of a batch reach the kernel.
enum class Source : uint32_t {
  kPinned,   // copied to the pinned block, which the kernel reads
  kInPlace,  // the kernel reads them where they are, by the row table
  kCopied,   // copied to the pool by the copy engine
};
inline constexpr size_t kSourceCount = 3;

class Model {
 public:
  static DeviceCode Open(const PlanView& plan, const DeviceOptions& options,
                         const DeviceFacts& device, const HostRegistry& registry,
                         std::unique_ptr<Model>* out, DeviceError* error);
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  DeviceCode Run(std::span<const DevicePiece> pieces, DeviceError* error);
  const DeviceTimes& times() const { return times_; }
  uint64_t device_bytes() const { return device_bytes_; }

 private:
  struct Bucket {
    uint64_t rows = 0;
    TileShape shape;
    ForestImage::Lists lists;
    cudaGraphExec_t graphs[kSourceCount] = {};
  };
  // Where each part of the pool and of the pinned block begins.
  struct Places {
    size_t image, ticket, rows, column_bytes, sums, end;
    size_t header, table, pinned_rows, margins, done, pinned_end;
  };

  Model(const DeviceOptions& options, const DeviceFacts& device, const HostRegistry& registry);

  DeviceCode ShapeBuckets(ForestImage* image, DeviceError* error);
  void Place(const ForestImage& image);
  DeviceCode Allocate(const ForestImage& image, DeviceError* error);
  DeviceCode CaptureBuckets(const ForestImage& image, DeviceError* error);
  DeviceCode Capture(const ForestView& view, Source source, Bucket* bucket, DeviceError* error);
  DeviceCode WarmUp(DeviceError* error);
  bool Possible(Source source, const Bucket& bucket) const;
  BatchView View(Source source) const;

  const Bucket& BucketFor(uint64_t rows) const;
  Source ChooseSource(std::span<const DevicePiece> pieces, uint64_t rows) const;
  DeviceCode TryRun(std::span<const DevicePiece> pieces, uint64_t rows, DeviceError* error);
  DeviceCode BringRows(std::span<const DevicePiece> pieces, Source source, const Bucket& bucket,
                       DeviceError* error);
  void FillTable(std::span<const DevicePiece> pieces, const Bucket& bucket);
  DeviceCode CopyToPool(std::span<const DevicePiece> pieces, DeviceError* error);
  DeviceCode Flush(uint64_t begin, uint64_t end, DeviceError* error);
  DeviceCode Wait(uint64_t sequence, DeviceError* error);
  bool Done(uint64_t sequence) const;
  void CopyOut(std::span<const DevicePiece> pieces) const;

  template <typename T>
  T* Pinned(size_t at) const {
    return reinterpret_cast<T*>(pinned_ + at);
  }
  template <typename T>
  T* PinnedOnDevice(size_t at) const {
    return reinterpret_cast<T*>(pinned_on_device_ + at);
  }
  template <typename T>
  T* Pool(size_t at) const {
    return reinterpret_cast<T*>(pool_ + at);
  }

  const DeviceOptions options_;
  const DeviceFacts device_;
  const HostRegistry& registry_;
  ForestKind kind_ = {};
  uint64_t row_bytes_ = 0;  // of the input
  uint64_t margin_row_bytes_ = 0;
  uint64_t host_read_bytes_ = 0;  // batches up to this are read from host memory by the kernel
  std::vector<Bucket> buckets_;   // of 1, 2, 4, ... rows
  Places at_ = {};
  uint64_t device_bytes_ = 0;
  std::byte* pool_ = nullptr;
  std::byte* pinned_ = nullptr;
  std::byte* pinned_on_device_ = nullptr;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t event_ = nullptr;
  uint64_t sequence_ = 0;
  DeviceTimes times_ = {};  // of the last run
};

}  // namespace millrace::cuda
