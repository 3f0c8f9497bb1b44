// CUDA's errors as the plug-in's codes, and sentences that name the call.
//
// Who may call: any thread of the plug-in.
// Invariants:
//   1. An error after which the context is gone (sticky) is kLost: one that is known to be so, or
//      one after which a harmless call gives such a one.
//   2. A sentence ends in one NUL and fits.
//   3. Any other error leaves nothing behind: cudaGetLastError is cleared.
#pragma once

#include "kernels/device/plugin.h"
#include "kernels/simt/cuda.h"

namespace millrace::cuda {

// What a call's answer means once a device was found. `call` is its name: "cudaMalloc".
DeviceCode Classify(cudaError_t answer, const char* call, DeviceError* error);

// The same while looking for a driver and a device, where some answers mean that there is none.
DeviceCode ClassifyAtStart(cudaError_t answer, const char* call, int driver_version,
                           DeviceError* error);

// Any other reason: `format` as printf has it.
DeviceCode Fail(DeviceCode code, DeviceError* error, const char* format, ...)
    __attribute__((format(printf, 3, 4)));

}  // namespace millrace::cuda

// Leaves the function with the code where the call fails.
#define MR_CUDA(call_name, arguments, error)                           \
  do {                                                                 \
    const cudaError_t mr_answer = call_name arguments;                 \
    if (mr_answer != cudaSuccess) {                                    \
      return ::millrace::cuda::Classify(mr_answer, #call_name, error); \
    }                                                                  \
  } while (false)
