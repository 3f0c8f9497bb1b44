// The runs of a model: on the path of requests, so nothing here allocates.
#include <time.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>

#include "kernels/cuda/errors.h"
#include "kernels/cuda/model.h"
#include "kernels/cuda/ranges.h"

namespace millrace::cuda {
namespace {

// Copying so little costs less than the second trip over the bus that a row table means.
constexpr uint64_t kInPlaceFromBytes = 4096;
// A piece of registered memory of this size is worth a copy command of its own.
constexpr uint64_t kCopyAloneBytes = 64 * 1024;
// Spinning this long meets every batch that a GPU is the right place for.
constexpr int64_t kSpinNs = 200'000;
constexpr uint32_t kLooksBetweenQueries = 256;

int64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

}  // namespace

DeviceCode Model::Run(std::span<const DevicePiece> pieces, DeviceError* error) {
  if (pieces.size() > kMaxDevicePieces) {
    return Fail(DeviceCode::kInvalid, error, "run: %zu pieces, at most %zu", pieces.size(),
                static_cast<size_t>(kMaxDevicePieces));
  }
  uint64_t rows = 0;
  for (const DevicePiece& piece : pieces) {
    if (piece.rows > options_.max_rows - rows) {
      return Fail(DeviceCode::kInvalid, error, "run: more than the model's %llu rows",
                  static_cast<unsigned long long>(options_.max_rows));
    }
    rows += piece.rows;
  }
  if (rows == 0) return DeviceCode::kOk;
  times_.begin_ns = NowNs();
  const DeviceCode code = TryRun(pieces, rows, error);
  if (code == DeviceCode::kOk) {
    times_.done_ns = NowNs();
    CopyOut(pieces);
    times_.end_ns = NowNs();
  } else if (code != DeviceCode::kLost) {
    // Something may be under way that reads the caller's memory, or ours.
    MR_CUDA(cudaStreamSynchronize, (stream_), error);
  }
  return code;
}

const Model::Bucket& Model::BucketFor(uint64_t rows) const {
  return buckets_[static_cast<size_t>(std::bit_width(rows - 1))];
}

Source Model::ChooseSource(std::span<const DevicePiece> pieces, uint64_t rows) const {
  const uint64_t bytes = rows * row_bytes_;
  if (bytes > host_read_bytes_) return Source::kCopied;
  if (bytes < kInPlaceFromBytes || !device_.reads_host_memory) return Source::kPinned;
  const bool registered = std::all_of(pieces.begin(), pieces.end(), [&](const DevicePiece& piece) {
    return piece.rows == 0 ||
           registry_.DevicePointer(piece.input, piece.rows * row_bytes_) != nullptr;
  });
  return registered ? Source::kInPlace : Source::kPinned;
}

DeviceCode Model::TryRun(std::span<const DevicePiece> pieces, uint64_t rows, DeviceError* error) {
  const Bucket& bucket = BucketFor(rows);
  const Source source = ChooseSource(pieces, rows);
  auto* header = Pinned<BatchHeader>(at_.header);
  header->sequence = ++sequence_;
  header->rows = static_cast<uint32_t>(rows);
  const DeviceCode code = BringRows(pieces, source, bucket, error);
  if (code != DeviceCode::kOk) return code;
  times_.brought_ns = NowNs();
  {
    const Range range("millrace launch");
    MR_CUDA(cudaGraphLaunch, (bucket.graphs[static_cast<size_t>(source)], stream_), error);
  }
  times_.launched_ns = NowNs();
  return Wait(sequence_, error);
}

DeviceCode Model::BringRows(std::span<const DevicePiece> pieces, Source source,
                            const Bucket& bucket, DeviceError* error) {
  const Range range("millrace host to device");
  if (source == Source::kCopied) return CopyToPool(pieces, error);
  if (source == Source::kInPlace) {
    FillTable(pieces, bucket);
    return DeviceCode::kOk;
  }
  auto* to = Pinned<std::byte>(at_.pinned_rows);
  for (const DevicePiece& piece : pieces) {
    if (piece.rows == 0) continue;
    std::memcpy(to, piece.input, piece.rows * row_bytes_);
    to += piece.rows * row_bytes_;
  }
  return DeviceCode::kOk;
}

// Rows that the bucket has and the batch has not are ranked, too: they are the pinned block's.
void Model::FillTable(std::span<const DevicePiece> pieces, const Bucket& bucket) {
  auto* entry = Pinned<uint64_t>(at_.table);
  auto* const end = entry + bucket.rows;
  for (const DevicePiece& piece : pieces) {
    if (piece.rows == 0) continue;
    const void* device = registry_.DevicePointer(piece.input, piece.rows * row_bytes_);
    auto address = reinterpret_cast<uint64_t>(device);
    for (uint64_t i = 0; i < piece.rows; ++i, address += row_bytes_) *entry++ = address;
  }
  std::fill(entry, end, reinterpret_cast<uint64_t>(PinnedOnDevice<void>(at_.pinned_rows)));
}

// The pinned rows [begin, end), counted in bytes, to their place in the pool.
DeviceCode Model::Flush(uint64_t begin, uint64_t end, DeviceError* error) {
  if (begin == end) return DeviceCode::kOk;
  MR_CUDA(cudaMemcpyAsync,
          (pool_ + at_.rows + begin, pinned_ + at_.pinned_rows + begin, end - begin,
           cudaMemcpyHostToDevice, stream_),
          error);
  return DeviceCode::kOk;
}

DeviceCode Model::CopyToPool(std::span<const DevicePiece> pieces, DeviceError* error) {
  uint64_t at = 0;
  uint64_t flushed = 0;
  for (const DevicePiece& piece : pieces) {
    const uint64_t bytes = piece.rows * row_bytes_;
    if (bytes == 0) continue;
    if (bytes < kCopyAloneBytes || registry_.DevicePointer(piece.input, bytes) == nullptr) {
      std::memcpy(pinned_ + at_.pinned_rows + at, piece.input, bytes);
    } else {
      const DeviceCode code = Flush(flushed, at, error);
      if (code != DeviceCode::kOk) return code;
      MR_CUDA(cudaMemcpyAsync,
              (pool_ + at_.rows + at, piece.input, bytes, cudaMemcpyHostToDevice, stream_), error);
      flushed = at + bytes;
    }
    at += bytes;
  }
  return Flush(flushed, at, error);
}

bool Model::Done(uint64_t sequence) const {
  // acquire: meets the release in StoreRelease in kernels/cuda/primitives.cu.h, the last of a run.
  return std::atomic_ref<uint64_t>(*Pinned<uint64_t>(at_.done)).load(std::memory_order_acquire) ==
         sequence;
}

// Looks for a while, then sleeps. An error shows in a query, so a run that dies ends the wait.
DeviceCode Model::Wait(uint64_t sequence, DeviceError* error) {
  const Range range("millrace synchronize");
  const int64_t give_up_ns = NowNs() + kSpinNs;
  do {
    for (uint32_t i = 0; i < kLooksBetweenQueries; ++i) {
      if (Done(sequence)) return DeviceCode::kOk;
      __builtin_ia32_pause();
    }
    const cudaError_t answer = cudaStreamQuery(stream_);
    if (answer == cudaSuccess) return DeviceCode::kOk;
    if (answer != cudaErrorNotReady) return Classify(answer, "cudaStreamQuery", error);
    cudaGetLastError();  // "not ready" would be taken for a later call's error
  } while (NowNs() < give_up_ns);
  MR_CUDA(cudaEventRecord, (event_, stream_), error);
  MR_CUDA(cudaEventSynchronize, (event_), error);
  return DeviceCode::kOk;
}

void Model::CopyOut(std::span<const DevicePiece> pieces) const {
  const Range range("millrace device to host");
  const std::byte* from = Pinned<std::byte>(at_.margins);
  for (const DevicePiece& piece : pieces) {
    if (piece.rows == 0) continue;
    std::memcpy(piece.margins, from, piece.rows * margin_row_bytes_);
    from += piece.rows * margin_row_bytes_;
  }
}

}  // namespace millrace::cuda
