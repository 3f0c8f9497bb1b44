// NVTX ranges: what a profiler such as Nsight Systems shows of the steps of a batch.
//
// Purpose: the names of our steps beside the device's own timeline. Who may call: any thread.
// Invariants: 1. without a profiler a range costs a look at a pointer; without the headers of the
//   toolkit, or over the SIMT shim, nothing. Nothing fails.
#pragma once

#if defined(__CUDACC__) && __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>

namespace millrace::cuda {

class Range {
 public:
  explicit Range(const char* name) { nvtxRangePushA(name); }
  ~Range() { nvtxRangePop(); }
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;
};

}  // namespace millrace::cuda

#else

namespace millrace::cuda {

class Range {
 public:
  explicit Range(const char*) {}
  ~Range() {}  // not trivial: or it would be an unused variable
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;
};

}  // namespace millrace::cuda

#endif
