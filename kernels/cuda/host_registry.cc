#include "kernels/cuda/host_registry.h"

#include <algorithm>
#include <mutex>

#include "kernels/cuda/errors.h"
#include "kernels/simt/cuda.h"

namespace millrace::cuda {

HostRegistry::~HostRegistry() {
  for (const Range& range : ranges_) cudaHostUnregister(reinterpret_cast<void*>(range.begin));
}

size_t HostRegistry::IndexBehind(uintptr_t at) const {
  const auto behind =
      std::upper_bound(ranges_.begin(), ranges_.end(), at,
                       [](uintptr_t a, const Range& range) { return a < range.begin; });
  return static_cast<size_t>(behind - ranges_.begin());
}

DeviceCode HostRegistry::Register(const void* data, uint64_t bytes, DeviceError* error) {
  const auto begin = reinterpret_cast<uintptr_t>(data);
  if (bytes == 0 || begin == 0 || begin + bytes < begin) {
    return Fail(DeviceCode::kInvalid, error, "register_memory: the range is empty");
  }
  const std::unique_lock lock(mutex_);
  const size_t index = IndexBehind(begin);
  if ((index > 0 && ranges_[index - 1].end > begin) ||
      (index < ranges_.size() && ranges_[index].begin < begin + bytes)) {
    return Fail(DeviceCode::kInvalid, error, "register_memory: a part of the range is registered");
  }
  ranges_.reserve(ranges_.size() + 1);
  void* host = const_cast<void*>(data);  // the device only reads it
  // A peer's memory is mapped read-only, which CUDA must be told.
  MR_CUDA(
      cudaHostRegister,
      (host, bytes, cudaHostRegisterMapped | cudaHostRegisterPortable | cudaHostRegisterReadOnly),
      error);
  void* device = nullptr;
  const cudaError_t answer = cudaHostGetDevicePointer(&device, host, 0);
  if (answer != cudaSuccess) {
    cudaHostUnregister(host);
    return Classify(answer, "cudaHostGetDevicePointer", error);
  }
  ranges_.insert(ranges_.begin() + static_cast<ptrdiff_t>(index),
                 {begin, begin + bytes, reinterpret_cast<uintptr_t>(device)});
  return DeviceCode::kOk;
}

void HostRegistry::Unregister(const void* data) {
  const auto begin = reinterpret_cast<uintptr_t>(data);
  const std::unique_lock lock(mutex_);
  const size_t index = IndexBehind(begin);
  if (index == 0 || ranges_[index - 1].begin != begin) return;
  ranges_.erase(ranges_.begin() + static_cast<ptrdiff_t>(index) - 1);
  cudaHostUnregister(const_cast<void*>(data));
}

const void* HostRegistry::DevicePointer(const void* data, uint64_t bytes) const {
  const auto begin = reinterpret_cast<uintptr_t>(data);
  const std::shared_lock lock(mutex_);
  const size_t index = IndexBehind(begin);
  if (index == 0) return nullptr;
  const Range& range = ranges_[index - 1];
  if (begin >= range.end || bytes > range.end - begin) return nullptr;
  return reinterpret_cast<const void*>(range.device + (begin - range.begin));
}

}  // namespace millrace::cuda
