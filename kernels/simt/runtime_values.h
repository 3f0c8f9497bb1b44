// The numbers of CUDA's runtime API that the shim gives the same meaning.
//
// Purpose: lists, so that one place defines them (runtime_types.h) and another holds them against
//   CUDA's own headers (values.cu).
// Who may call: those two, and what prints errors.
#pragma once

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

// X(name, value)
#define MR_SIMT_ATTRIBUTES(X)                         \
  X(cudaDevAttrMaxThreadsPerBlock, 1)                 \
  X(cudaDevAttrMaxSharedMemoryPerBlock, 8)            \
  X(cudaDevAttrWarpSize, 10)                          \
  X(cudaDevAttrMultiProcessorCount, 16)               \
  X(cudaDevAttrIntegrated, 18)                        \
  X(cudaDevAttrCanMapHostMemory, 19)                  \
  X(cudaDevAttrL2CacheSize, 38)                       \
  X(cudaDevAttrMaxThreadsPerMultiProcessor, 39)       \
  X(cudaDevAttrUnifiedAddressing, 41)                 \
  X(cudaDevAttrComputeCapabilityMajor, 75)            \
  X(cudaDevAttrComputeCapabilityMinor, 76)            \
  X(cudaDevAttrMaxSharedMemoryPerMultiprocessor, 81)  \
  X(cudaDevAttrPageableMemoryAccess, 88)              \
  X(cudaDevAttrCanUseHostPointerForRegisteredMem, 91) \
  X(cudaDevAttrMaxSharedMemoryPerBlockOptin, 97)      \
  X(cudaDevAttrHostRegisterSupported, 99)             \
  X(cudaDevAttrMaxBlocksPerMultiprocessor, 106)       \
  X(cudaDevAttrReservedSharedMemoryPerBlock, 111)     \
  X(cudaDevAttrHostRegisterReadOnlySupported, 113)

#define MR_SIMT_FLAGS(X)           \
  X(cudaHostAllocDefault, 0)       \
  X(cudaHostAllocPortable, 1)      \
  X(cudaHostAllocMapped, 2)        \
  X(cudaHostAllocWriteCombined, 4) \
  X(cudaHostRegisterDefault, 0)    \
  X(cudaHostRegisterPortable, 1)   \
  X(cudaHostRegisterMapped, 2)     \
  X(cudaHostRegisterIoMemory, 4)   \
  X(cudaHostRegisterReadOnly, 8)   \
  X(cudaStreamDefault, 0)          \
  X(cudaStreamNonBlocking, 1)      \
  X(cudaEventDefault, 0)           \
  X(cudaEventBlockingSync, 1)      \
  X(cudaEventDisableTiming, 2)

#define MR_SIMT_ENUMERATORS(X)                      \
  X(cudaMemcpyHostToHost, 0)                        \
  X(cudaMemcpyHostToDevice, 1)                      \
  X(cudaMemcpyDeviceToHost, 2)                      \
  X(cudaMemcpyDeviceToDevice, 3)                    \
  X(cudaMemcpyDefault, 4)                           \
  X(cudaStreamCaptureModeGlobal, 0)                 \
  X(cudaStreamCaptureModeThreadLocal, 1)            \
  X(cudaStreamCaptureModeRelaxed, 2)                \
  X(cudaStreamCaptureStatusNone, 0)                 \
  X(cudaStreamCaptureStatusActive, 1)               \
  X(cudaStreamCaptureStatusInvalidated, 2)          \
  X(cudaFuncAttributeMaxDynamicSharedMemorySize, 8) \
  X(cudaFuncAttributePreferredSharedMemoryCarveout, 9)
