#include "kernels/cuda/errors.h"

#include <stdarg.h>
#include <stdio.h>

namespace millrace::cuda {
namespace {

// Numbers, since some names are younger than the oldest toolkit that builds this.
bool KnownSticky(int error) {
  switch (error) {
    case 46:   // all devices are busy or unavailable
    case 214:  // uncorrectable ECC error
    case 220:  // uncorrectable NVLink error
    case 226:  // contained error
    case 700:  // illegal address
    case 702:  // launch timed out
    case 709:  // context is destroyed
    case 710:  // assertion in a kernel
    case 714:  // hardware stack error
    case 715:  // illegal instruction
    case 716:  // misaligned address
    case 717:  // invalid address space
    case 718:  // invalid program counter
    case 719:  // launch failure
    case 721:  // tensor memory leak, an error of a kernel as well
    case 999:  // unknown; nobody says that the context survives it
      return true;
    default:
      return false;
  }
}

DeviceCode Say(DeviceCode code, cudaError_t answer, const char* call, DeviceError* error) {
  return Fail(code, error, "%s: %s (%d, %s)", call, cudaGetErrorString(answer),
              static_cast<int>(answer), cudaGetErrorName(answer));
}

}  // namespace

DeviceCode Fail(DeviceCode code, DeviceError* error, const char* format, ...) {
  if (error == nullptr) return code;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(error->sentence, sizeof error->sentence, format, arguments);
  va_end(arguments);
  return code;
}

DeviceCode Classify(cudaError_t answer, const char* call, DeviceError* error) {
  if (answer == cudaSuccess) return DeviceCode::kOk;
  if (KnownSticky(answer)) return Say(DeviceCode::kLost, answer, call, error);
  cudaGetLastError();  // cleared, unless it is sticky
  const cudaError_t harmless = cudaDeviceSynchronize();
  if (KnownSticky(harmless)) return Say(DeviceCode::kLost, answer, call, error);
  const bool memory = answer == cudaErrorMemoryAllocation;
  return Say(memory ? DeviceCode::kOutOfMemory : DeviceCode::kUnsupported, answer, call, error);
}

DeviceCode ClassifyAtStart(cudaError_t answer, const char* call, int driver_version,
                           DeviceError* error) {
  switch (static_cast<int>(answer)) {
    case 34:  // the driver library is a stub
      return Say(DeviceCode::kNoDriver, answer, call, error);
    case 35:   // insufficient driver
    case 803:  // driver and runtime library do not match
    case 804:  // no forward compatibility on this device
      return Say(driver_version == 0 ? DeviceCode::kNoDriver : DeviceCode::kOldDriver, answer, call,
                 error);
    case 100:  // no device
    case 101:  // no such device
      cudaGetLastError();
      return Say(DeviceCode::kNoDevice, answer, call, error);
    default:
      return Classify(answer, call, error);
  }
}

}  // namespace millrace::cuda
