// Allocation, registration, copies and fills.
#include <cstring>
#include <memory>
#include <string>

#include "kernels/simt/device_state.h"

using millrace::simt::Api;
using millrace::simt::CallRule;
using millrace::simt::DeviceState;
using millrace::simt::Place;

namespace {

bool IsHost(Place place) { return place == Place::kPinned || place == Place::kPageable; }

cudaError_t CheckCopy(const DeviceState& device, const void* to, const void* from,
                      std::size_t bytes, cudaMemcpyKind kind) {
  if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault) {
    return cudaErrorInvalidMemcpyDirection;
  }
  if (to == nullptr || from == nullptr) return cudaErrorInvalidValue;
  const Place to_place = device.memory.Find(to, bytes);
  const Place from_place = device.memory.Find(from, bytes);
  if (to_place == Place::kInvalid || from_place == Place::kInvalid) return cudaErrorInvalidValue;
  if (kind == cudaMemcpyDefault) return cudaSuccess;
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  return to_device != IsHost(to_place) && from_device != IsHost(from_place) ? cudaSuccess
                                                                            : cudaErrorInvalidValue;
}

cudaError_t RunCopy(const DeviceState& device, void* to, const void* from, std::size_t bytes,
                    cudaMemcpyKind kind) {
  // What was captured may have been freed since.
  if (CheckCopy(device, to, from, bytes, kind) != cudaSuccess) return cudaErrorIllegalAddress;
  std::memmove(to, from, bytes);
  return cudaSuccess;
}

cudaError_t EnqueueCopy(DeviceState& device, void* to, const void* from, std::size_t bytes,
                        cudaMemcpyKind kind, cudaStream_t handle) {
  CUstream_st* const stream = device.Stream(handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (bytes == 0) return cudaSuccess;
  const cudaError_t wrong = CheckCopy(device, to, from, bytes, kind);
  if (wrong != cudaSuccess) return wrong;
  const auto copy = [=, &device] { return RunCopy(device, to, from, bytes, kind); };
  if (stream->capture != nullptr) return device.Enqueue(handle, copy);
  const Place to_place = device.memory.Find(to, bytes);
  const Place from_place = device.memory.Find(from, bytes);
  if (from_place == Place::kPageable && to_place == Place::kDevice) {
    // CUDA stages such a copy before it returns: the host may reuse its memory at once.
    const auto staged = std::make_shared<std::string>(static_cast<const char*>(from), bytes);
    return device.Enqueue(handle, [=, &device] {
      if (device.memory.Find(to, bytes) != Place::kDevice) return cudaErrorIllegalAddress;
      std::memcpy(to, staged->data(), bytes);
      return cudaSuccess;
    });
  }
  const cudaError_t enqueued = device.Enqueue(handle, copy);
  if (enqueued != cudaSuccess) return enqueued;
  // And one to pageable memory, or within the host, it finishes.
  if (to_place == Place::kPageable || (IsHost(to_place) && IsHost(from_place))) {
    device.RunStream(stream, device.last_sequence);
    return device.sticky;
  }
  return cudaSuccess;
}

cudaError_t EnqueueFill(DeviceState& device, void* pointer, int value, std::size_t bytes,
                        cudaStream_t stream) {
  if (device.Stream(stream) == nullptr) return cudaErrorInvalidResourceHandle;
  if (bytes == 0) return cudaSuccess;
  const auto may_fill = [=, &device] {
    const Place place = device.memory.Find(pointer, bytes);
    return place == Place::kDevice ||
           (place == Place::kPinned && device.memory.DeviceSees(pointer));
  };
  if (!may_fill()) return cudaErrorInvalidValue;
  return device.Enqueue(stream, [=] {
    if (!may_fill()) return cudaErrorIllegalAddress;
    std::memset(pointer, value, bytes);
    return cudaSuccess;
  });
}

}  // namespace

cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  return Api("cudaMemGetInfo", CallRule::kAny, [&](DeviceState& device) {
    if (free_bytes == nullptr || total_bytes == nullptr) return cudaErrorInvalidValue;
    *total_bytes = device.memory.device_bytes();
    *free_bytes = device.memory.device_bytes() - device.memory.device_used();
    return cudaSuccess;
  });
}

cudaError_t cudaMalloc(void** pointer, std::size_t bytes) {
  return Api("cudaMalloc", CallRule::kUnsafe, [&](DeviceState& device) {
    if (pointer == nullptr) return cudaErrorInvalidValue;
    *pointer = nullptr;
    if (bytes == 0) return cudaSuccess;
    *pointer = device.memory.AllocateDevice(bytes);
    return *pointer == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
  });
}

cudaError_t cudaFree(void* pointer) {
  return Api("cudaFree", CallRule::kUnsafe, [&](DeviceState& device) {
    device.RunAll();
    if (device.sticky != cudaSuccess) return device.sticky;
    return pointer == nullptr || device.memory.FreeDevice(pointer) ? cudaSuccess
                                                                   : cudaErrorInvalidValue;
  });
}

static cudaError_t AllocateHost(DeviceState& device, void** pointer, std::size_t bytes) {
  if (pointer == nullptr) return cudaErrorInvalidValue;
  *pointer = nullptr;
  if (bytes == 0) return cudaSuccess;
  *pointer = device.memory.AllocateHost(bytes);
  return *pointer == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}

cudaError_t cudaMallocHost(void** pointer, std::size_t bytes) {
  return Api("cudaMallocHost", CallRule::kUnsafe,
             [&](DeviceState& device) { return AllocateHost(device, pointer, bytes); });
}

cudaError_t cudaHostAlloc(void** pointer, std::size_t bytes, unsigned flags) {
  return Api("cudaHostAlloc", CallRule::kUnsafe, [&](DeviceState& device) {
    constexpr unsigned kKnown =
        cudaHostAllocPortable | cudaHostAllocMapped | cudaHostAllocWriteCombined;
    if ((flags & ~kKnown) != 0) return cudaErrorInvalidValue;
    return AllocateHost(device, pointer, bytes);
  });
}

cudaError_t cudaFreeHost(void* pointer) {
  return Api("cudaFreeHost", CallRule::kUnsafe, [&](DeviceState& device) {
    device.RunAll();
    if (device.sticky != cudaSuccess) return device.sticky;
    return pointer == nullptr || device.memory.FreeHost(pointer) ? cudaSuccess
                                                                 : cudaErrorInvalidValue;
  });
}

cudaError_t cudaHostRegister(void* pointer, std::size_t bytes, unsigned flags) {
  return Api("cudaHostRegister", CallRule::kUnsafe,
             [&](DeviceState& device) { return device.memory.Register(pointer, bytes, flags); });
}

cudaError_t cudaHostUnregister(void* pointer) {
  return Api("cudaHostUnregister", CallRule::kUnsafe, [&](DeviceState& device) {
    device.RunAll();
    if (device.sticky != cudaSuccess) return device.sticky;
    return device.memory.Unregister(pointer);
  });
}

cudaError_t cudaHostGetDevicePointer(void** device_pointer, void* host, unsigned flags) {
  return Api("cudaHostGetDevicePointer", CallRule::kAny, [&](DeviceState& device) {
    if (device_pointer == nullptr || flags != 0) return cudaErrorInvalidValue;
    void* const mapped = device.memory.Mapped(host);
    if (mapped == nullptr) return cudaErrorInvalidValue;
    *device_pointer = mapped;
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return Api("cudaMemcpy", CallRule::kUnsafe, [&](DeviceState& device) {
    const cudaError_t enqueued = EnqueueCopy(device, to, from, bytes, kind, nullptr);
    if (enqueued != cudaSuccess) return enqueued;
    device.RunStream(&device.legacy, device.last_sequence);
    return device.sticky;
  });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return Api("cudaMemcpyAsync", CallRule::kAny, [&](DeviceState& device) {
    return EnqueueCopy(device, to, from, bytes, kind, stream);
  });
}

cudaError_t cudaMemset(void* pointer, int value, std::size_t bytes) {
  return Api("cudaMemset", CallRule::kUnsafe, [&](DeviceState& device) {
    return EnqueueFill(device, pointer, value, bytes, nullptr);
  });
}

cudaError_t cudaMemsetAsync(void* pointer, int value, std::size_t bytes, cudaStream_t stream) {
  return Api("cudaMemsetAsync", CallRule::kAny, [&](DeviceState& device) {
    return EnqueueFill(device, pointer, value, bytes, stream);
  });
}
