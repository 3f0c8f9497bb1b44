// The host's memory that the device may read in place.
//
// Purpose: knows for a range of host memory what the device calls it.
// Who may call: any thread; a lookup takes a shared lock for the time of a binary search.
// Ownership: the memory stays its owner's, mapped until Unregister; the registration is ours.
// Invariants:
//   1. Ranges do not overlap, and each is registered with CUDA exactly once.
//   2. Lookups allocate nothing.
// Fails: kInvalid for an empty or overlapping range; kUnsupported where this device or kernel
//   cannot; kOutOfMemory, kLost as ever.
#pragma once

#include <cstddef>
#include <cstdint>
#include <shared_mutex>
#include <vector>

#include "kernels/device/plugin.h"

namespace millrace::cuda {

class HostRegistry {
 public:
  ~HostRegistry();
  DeviceCode Register(const void* data, uint64_t bytes, DeviceError* error);
  void Unregister(const void* data);

  // The device's pointer; null unless the whole range was registered at once.
  const void* DevicePointer(const void* data, uint64_t bytes) const;

 private:
  struct Range {
    uintptr_t begin, end;
    uintptr_t device;
  };
  size_t IndexBehind(uintptr_t at) const;  // of the first range that begins behind `at`

  mutable std::shared_mutex mutex_;
  std::vector<Range> ranges_;  // by address
};

}  // namespace millrace::cuda
