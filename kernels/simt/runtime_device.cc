// Errors, versions, the device and its functions.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "kernels/simt/device_state.h"
#include "kernels/simt/faults.h"

using millrace::simt::Api;
using millrace::simt::CallRule;
using millrace::simt::DeviceState;
using millrace::simt::LastError;

namespace {

constexpr int kMultiprocessors = 4;
constexpr int kThreadsPerMultiprocessor = 2048;
constexpr int kBlocksPerMultiprocessor = 32;
constexpr int kSharedPerMultiprocessor = 228 * 1024;
constexpr int kSharedReservedPerBlock = 1024;

cudaError_t TakeLastError(const char* function, bool clear) {
  DeviceState& device = DeviceState::Get();
  const std::lock_guard lock(device.mutex);
  // Not recorded again: asking for an error does not make one. No call is refused here for a driver
  // that is missing, since none is needed to remember.
  const cudaError_t fault = device.Admit(function, CallRule::kVersion);
  if (fault != cudaSuccess) return fault;
  if (device.sticky != cudaSuccess) return device.sticky;
  const cudaError_t error = LastError();
  if (clear) LastError() = cudaSuccess;
  return error;
}

}  // namespace

const char* cudaGetErrorName(cudaError_t error) {
#define MR_SIMT_NAME(name, value, sentence) \
  case name:                                \
    return #name;
  switch (error) { MR_SIMT_ERRORS(MR_SIMT_NAME) }
#undef MR_SIMT_NAME
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
#define MR_SIMT_SENTENCE(name, value, sentence) \
  case name:                                    \
    return sentence;
  switch (error) { MR_SIMT_ERRORS(MR_SIMT_SENTENCE) }
#undef MR_SIMT_SENTENCE
  return "unrecognized error code";
}

cudaError_t cudaGetLastError() { return TakeLastError("cudaGetLastError", true); }
cudaError_t cudaPeekAtLastError() { return TakeLastError("cudaPeekAtLastError", false); }

cudaError_t cudaDriverGetVersion(int* version) {
  return Api("cudaDriverGetVersion", CallRule::kVersion, [&](DeviceState& device) {
    if (version == nullptr) return cudaErrorInvalidValue;
    *version = device.driver_version;
    return cudaSuccess;
  });
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  return Api("cudaRuntimeGetVersion", CallRule::kVersion, [&](DeviceState&) {
    if (version == nullptr) return cudaErrorInvalidValue;
    *version = CUDART_VERSION;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceCount(int* count) {
  // Without a driver the count is left as it was, as the real one leaves it.
  return Api("cudaGetDeviceCount", CallRule::kAny, [&](DeviceState& device) {
    if (count == nullptr) return cudaErrorInvalidValue;
    *count = device.devices;
    return cudaSuccess;
  });
}

cudaError_t cudaSetDevice(int device) {
  return Api("cudaSetDevice", CallRule::kAny, [&](DeviceState& state) {
    return device >= 0 && device < state.devices ? cudaSuccess : cudaErrorInvalidDevice;
  });
}

cudaError_t cudaGetDevice(int* device) {
  return Api("cudaGetDevice", CallRule::kAny, [&](DeviceState&) {
    if (device == nullptr) return cudaErrorInvalidValue;
    *device = 0;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return Api("cudaGetDeviceProperties", CallRule::kAny, [&](DeviceState& state) {
    if (properties == nullptr) return cudaErrorInvalidValue;
    if (device < 0 || device >= state.devices) return cudaErrorInvalidDevice;
    cudaDeviceProp& p = *properties;
    p = {};
    std::snprintf(p.name, sizeof(p.name), "Millrace SIMT shim");
    p.totalGlobalMem = state.memory.device_bytes();
    p.sharedMemPerBlock = millrace::simt::kDefaultSharedBytes;
    p.regsPerBlock = p.regsPerMultiprocessor = 65536;
    p.warpSize = 32;
    p.maxThreadsPerBlock = 1024;
    std::copy_n(std::initializer_list<int>{1024, 1024, 64}.begin(), 3, p.maxThreadsDim);
    std::copy_n(std::initializer_list<int>{0x7fffffff, 65535, 65535}.begin(), 3, p.maxGridSize);
    p.totalConstMem = 65536;
    p.major = 9;
    p.multiProcessorCount = kMultiprocessors;
    p.canMapHostMemory = p.concurrentKernels = p.asyncEngineCount = p.unifiedAddressing = 1;
    p.memoryBusWidth = 64;
    p.l2CacheSize = 1 << 20;
    p.maxThreadsPerMultiProcessor = kThreadsPerMultiprocessor;
    p.sharedMemPerMultiprocessor = kSharedPerMultiprocessor;
    p.canUseHostPointerForRegisteredMem = 1;
    p.sharedMemPerBlockOptin = millrace::simt::kMaxSharedBytes;
    p.maxBlocksPerMultiProcessor = kBlocksPerMultiprocessor;
    p.reservedSharedMemPerBlock = kSharedReservedPerBlock;
    p.hostRegisterSupported = p.hostRegisterReadOnlySupported = 1;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  static const std::map<int, int> kValues = {
      {cudaDevAttrMaxThreadsPerBlock, 1024},
      {cudaDevAttrMaxSharedMemoryPerBlock, static_cast<int>(millrace::simt::kDefaultSharedBytes)},
      {cudaDevAttrWarpSize, 32},
      {cudaDevAttrMultiProcessorCount, kMultiprocessors},
      {cudaDevAttrIntegrated, 0},
      {cudaDevAttrCanMapHostMemory, 1},
      {cudaDevAttrL2CacheSize, 1 << 20},
      {cudaDevAttrMaxThreadsPerMultiProcessor, kThreadsPerMultiprocessor},
      {cudaDevAttrUnifiedAddressing, 1},
      {cudaDevAttrComputeCapabilityMajor, 9},
      {cudaDevAttrComputeCapabilityMinor, 0},
      {cudaDevAttrMaxSharedMemoryPerMultiprocessor, kSharedPerMultiprocessor},
      {cudaDevAttrPageableMemoryAccess, 0},
      {cudaDevAttrCanUseHostPointerForRegisteredMem, 1},
      {cudaDevAttrMaxSharedMemoryPerBlockOptin, static_cast<int>(millrace::simt::kMaxSharedBytes)},
      {cudaDevAttrHostRegisterSupported, 1},
      {cudaDevAttrMaxBlocksPerMultiprocessor, kBlocksPerMultiprocessor},
      {cudaDevAttrReservedSharedMemoryPerBlock, kSharedReservedPerBlock},
      {cudaDevAttrHostRegisterReadOnlySupported, 1},
  };
  return Api("cudaDeviceGetAttribute", CallRule::kAny, [&](DeviceState& state) {
    if (device < 0 || device >= state.devices) return cudaErrorInvalidDevice;
    const auto found = kValues.find(attribute);
    if (value == nullptr || found == kValues.end()) return cudaErrorInvalidValue;
    *value = found->second;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceSynchronize() {
  return Api("cudaDeviceSynchronize", CallRule::kAny, [](DeviceState& device) {
    if (device.AnyCapture()) {
      device.InvalidateAll();
      return cudaErrorStreamCaptureUnsupported;
    }
    device.RunAll();
    return device.sticky;
  });
}

cudaError_t cudaDeviceReset() {
  return Api("cudaDeviceReset", CallRule::kUnsafe, [](DeviceState& device) {
    device.RunAll();
    if (device.sticky != cudaSuccess) return device.sticky;
    device.streams.clear();
    device.events.clear();
    device.graphs.clear();
    device.execs.clear();
    device.dynamic_shared_limits.clear();
    device.memory.Reset(device.memory.device_bytes());
    return cudaSuccess;
  });
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  return Api("cudaFuncSetAttribute", CallRule::kAny, [&](DeviceState& device) {
    if (function == nullptr) return cudaErrorInvalidDeviceFunction;
    if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) {
      return value >= -1 && value <= 100 ? cudaSuccess : cudaErrorInvalidValue;
    }
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
        static_cast<std::size_t>(value) > millrace::simt::kMaxSharedBytes) {
      return cudaErrorInvalidValue;
    }
    device.dynamic_shared_limits[function] = value;
    return cudaSuccess;
  });
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
  return Api("cudaFuncGetAttributes", CallRule::kAny, [&](DeviceState& device) {
    if (attributes == nullptr) return cudaErrorInvalidValue;
    if (function == nullptr) return cudaErrorInvalidDeviceFunction;
    *attributes = {};
    attributes->maxThreadsPerBlock = 1024;
    attributes->numRegs = 32;
    attributes->ptxVersion = attributes->binaryVersion = 90;
    const auto limit = device.dynamic_shared_limits.find(function);
    attributes->maxDynamicSharedSizeBytes =
        limit == device.dynamic_shared_limits.end()
            ? static_cast<int>(millrace::simt::kDefaultSharedBytes)
            : limit->second;
    attributes->preferredShmemCarveout = -1;
    return cudaSuccess;
  });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* function,
                                                          int block_size,
                                                          std::size_t dynamic_shared_bytes) {
  return Api("cudaOccupancyMaxActiveBlocksPerMultiprocessor", CallRule::kAny, [&](DeviceState&) {
    if (blocks == nullptr || block_size <= 0) return cudaErrorInvalidValue;
    if (function == nullptr) return cudaErrorInvalidDeviceFunction;
    const int warps = (block_size + 31) / 32;
    const int by_threads = block_size > 1024 ? 0 : kThreadsPerMultiprocessor / (32 * warps);
    const auto by_shared = static_cast<int>(kSharedPerMultiprocessor /
                                            (dynamic_shared_bytes + kSharedReservedPerBlock));
    *blocks = std::min({by_threads, by_shared, kBlocksPerMultiprocessor});
    return cudaSuccess;
  });
}
