// Types and constants of the CUDA runtime, with CUDA's values.
//
// Who may call: anyone who includes kernels/simt/cuda.h.
// Invariants:
//   1. Every number here is the one in CUDA 13's headers; runtime_values_test.cu holds them
//   together
//      where there is a toolkit.
#pragma once

#include <cstddef>

#define CUDART_VERSION 13000

// One line for each: X(name, value, sentence).
#define MR_SIMT_ERRORS(X)                                                                 \
  X(cudaSuccess, 0, "no error")                                                           \
  X(cudaErrorInvalidValue, 1, "invalid argument")                                         \
  X(cudaErrorMemoryAllocation, 2, "out of memory")                                        \
  X(cudaErrorInitializationError, 3, "initialization error")                              \
  X(cudaErrorCudartUnloading, 4, "driver shutting down")                                  \
  X(cudaErrorInvalidConfiguration, 9, "invalid configuration argument")                   \
  X(cudaErrorInvalidMemcpyDirection, 21, "invalid copy direction for memcpy")             \
  X(cudaErrorStubLibrary, 34, "the driver library is a stub")                             \
  X(cudaErrorInsufficientDriver, 35, "the driver is too old for the runtime")             \
  X(cudaErrorDevicesUnavailable, 46, "all devices are busy or unavailable")               \
  X(cudaErrorInvalidDeviceFunction, 98, "invalid device function")                        \
  X(cudaErrorNoDevice, 100, "no CUDA-capable device is detected")                         \
  X(cudaErrorInvalidDevice, 101, "invalid device ordinal")                                \
  X(cudaErrorInvalidKernelImage, 200, "the kernel image is invalid")                      \
  X(cudaErrorDeviceUninitialized, 201, "invalid device context")                          \
  X(cudaErrorNoKernelImageForDevice, 209, "no kernel image is available for the device")  \
  X(cudaErrorECCUncorrectable, 214, "uncorrectable ECC error encountered")                \
  X(cudaErrorUnsupportedPtxVersion, 222, "the PTX was made by a newer toolchain")         \
  X(cudaErrorOperatingSystem, 304, "a call to the operating system failed")               \
  X(cudaErrorInvalidResourceHandle, 400, "invalid resource handle")                       \
  X(cudaErrorIllegalState, 401, "the operation cannot be performed in the present state") \
  X(cudaErrorSymbolNotFound, 500, "named symbol not found")                               \
  X(cudaErrorNotReady, 600, "device not ready")                                           \
  X(cudaErrorIllegalAddress, 700, "an illegal memory access was encountered")             \
  X(cudaErrorLaunchOutOfResources, 701, "too many resources requested for launch")        \
  X(cudaErrorLaunchTimeout, 702, "the launch timed out and was terminated")               \
  X(cudaErrorContextIsDestroyed, 709, "context is destroyed")                             \
  X(cudaErrorAssert, 710, "device-side assert triggered")                                 \
  X(cudaErrorHostMemoryAlreadyRegistered, 712, "host memory is registered already")       \
  X(cudaErrorHostMemoryNotRegistered, 713, "host memory is not registered")               \
  X(cudaErrorHardwareStackError, 714, "hardware stack error")                             \
  X(cudaErrorIllegalInstruction, 715, "an illegal instruction was encountered")           \
  X(cudaErrorMisalignedAddress, 716, "misaligned address")                                \
  X(cudaErrorInvalidAddressSpace, 717, "operation not supported on this address space")   \
  X(cudaErrorInvalidPc, 718, "invalid program counter")                                   \
  X(cudaErrorLaunchFailure, 719, "unspecified launch failure")                            \
  X(cudaErrorNotPermitted, 800, "operation not permitted")                                \
  X(cudaErrorNotSupported, 801, "operation not supported")                                \
  X(cudaErrorSystemNotReady, 802, "system not yet initialized")                           \
  X(cudaErrorSystemDriverMismatch, 803, "driver and runtime library do not match")        \
  X(cudaErrorStreamCaptureUnsupported, 900, "not permitted while a stream is capturing")  \
  X(cudaErrorStreamCaptureInvalidated, 901, "capture failed because of an earlier error") \
  X(cudaErrorStreamCaptureMerge, 902, "would merge two captures")                         \
  X(cudaErrorStreamCaptureUnmatched, 903, "the stream did not begin the capture")         \
  X(cudaErrorStreamCaptureUnjoined, 904, "the capture has work that was not joined")      \
  X(cudaErrorStreamCaptureIsolation, 905, "depends on work outside the capture")          \
  X(cudaErrorStreamCaptureImplicit, 906, "implicitly depends on a capture")               \
  X(cudaErrorCapturedEvent, 907, "the event was last recorded in a capture")              \
  X(cudaErrorStreamCaptureWrongThread, 908, "the capture belongs to another thread")      \
  X(cudaErrorUnknown, 999, "unknown error")

#define MR_SIMT_ENUMERATOR(name, value, sentence) name = value,
enum cudaError { MR_SIMT_ERRORS(MR_SIMT_ENUMERATOR) };
#undef MR_SIMT_ENUMERATOR
using cudaError_t = cudaError;

using cudaStream_t = struct CUstream_st*;
using cudaEvent_t = struct CUevent_st*;
using cudaGraph_t = struct CUgraph_st*;
using cudaGraphExec_t = struct CUgraphExec_st*;

enum cudaMemcpyKind {
  cudaMemcpyHostToHost = 0,
  cudaMemcpyHostToDevice = 1,
  cudaMemcpyDeviceToHost = 2,
  cudaMemcpyDeviceToDevice = 3,
  cudaMemcpyDefault = 4,
};

enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal = 0,
  cudaStreamCaptureModeThreadLocal = 1,
  cudaStreamCaptureModeRelaxed = 2,
};

enum cudaStreamCaptureStatus {
  cudaStreamCaptureStatusNone = 0,
  cudaStreamCaptureStatusActive = 1,
  cudaStreamCaptureStatusInvalidated = 2,
};

enum cudaFuncAttribute {
  cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
  cudaFuncAttributePreferredSharedMemoryCarveout = 9,
};

enum cudaDeviceAttr {
  cudaDevAttrMaxThreadsPerBlock = 1,
  cudaDevAttrMaxSharedMemoryPerBlock = 8,
  cudaDevAttrWarpSize = 10,
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrIntegrated = 18,
  cudaDevAttrCanMapHostMemory = 19,
  cudaDevAttrL2CacheSize = 38,
  cudaDevAttrMaxThreadsPerMultiProcessor = 39,
  cudaDevAttrUnifiedAddressing = 41,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrMaxSharedMemoryPerMultiprocessor = 81,
  cudaDevAttrPageableMemoryAccess = 88,
  cudaDevAttrCanUseHostPointerForRegisteredMem = 91,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
  cudaDevAttrHostRegisterSupported = 99,
  cudaDevAttrMaxBlocksPerMultiprocessor = 106,
  cudaDevAttrReservedSharedMemoryPerBlock = 111,
  cudaDevAttrHostRegisterReadOnlySupported = 113,
};

inline constexpr unsigned cudaHostAllocDefault = 0;
inline constexpr unsigned cudaHostAllocPortable = 1;
inline constexpr unsigned cudaHostAllocMapped = 2;
inline constexpr unsigned cudaHostAllocWriteCombined = 4;
inline constexpr unsigned cudaHostRegisterDefault = 0;
inline constexpr unsigned cudaHostRegisterPortable = 1;
inline constexpr unsigned cudaHostRegisterMapped = 2;
inline constexpr unsigned cudaHostRegisterIoMemory = 4;
inline constexpr unsigned cudaHostRegisterReadOnly = 8;
inline constexpr unsigned cudaStreamDefault = 0;
inline constexpr unsigned cudaStreamNonBlocking = 1;
inline constexpr unsigned cudaEventDefault = 0;
inline constexpr unsigned cudaEventBlockingSync = 1;
inline constexpr unsigned cudaEventDisableTiming = 2;

// The members that are used, under CUDA's names.
struct cudaDeviceProp {
  char name[256];
  std::size_t totalGlobalMem;
  std::size_t sharedMemPerBlock;
  int regsPerBlock;
  int warpSize;
  int maxThreadsPerBlock;
  int maxThreadsDim[3];
  int maxGridSize[3];
  std::size_t totalConstMem;
  int major;
  int minor;
  int multiProcessorCount;
  int integrated;
  int canMapHostMemory;
  int concurrentKernels;
  int pciBusID;
  int pciDeviceID;
  int pciDomainID;
  int asyncEngineCount;
  int unifiedAddressing;
  int memoryBusWidth;
  int l2CacheSize;
  int maxThreadsPerMultiProcessor;
  std::size_t sharedMemPerMultiprocessor;
  int regsPerMultiprocessor;
  int pageableMemoryAccess;
  int canUseHostPointerForRegisteredMem;
  std::size_t sharedMemPerBlockOptin;
  int maxBlocksPerMultiProcessor;
  std::size_t reservedSharedMemPerBlock;
  int hostRegisterSupported;
  int hostRegisterReadOnlySupported;
};

struct cudaFuncAttributes {
  std::size_t sharedSizeBytes;
  std::size_t constSizeBytes;
  std::size_t localSizeBytes;
  int maxThreadsPerBlock;
  int numRegs;
  int ptxVersion;
  int binaryVersion;
  int cacheModeCA;
  int maxDynamicSharedSizeBytes;
  int preferredShmemCarveout;
};
