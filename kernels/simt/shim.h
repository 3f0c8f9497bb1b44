// CUDA's language under the host compiler: include kernels/simt/cuda.h instead.
//
// Purpose: gives every name that CUDA code uses a meaning on the CPU.
// Who may call: kernels/simt/cuda.h alone includes it.
// Invariants:
//   1. A raw __shared__ does not compile here, on purpose: it could not be checked.
#pragma once

#if !defined(__x86_64__) || !defined(__GNUC__)
#error "the SIMT shim switches stacks on x86-64 with GCC"
#endif

#define MR_SIMT 1

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

#define MR_SHARED(type, name, count)                                   \
  static const ::millrace::simt::SharedSite name##_shared_site(#name); \
  const ::millrace::simt::SharedPtr<type> name =                       \
      ::millrace::simt::DeclareShared<type>(name##_shared_site, count)

#define MR_DYNAMIC_SHARED(type, name) \
  const ::millrace::simt::SharedPtr<type> name = ::millrace::simt::DynamicShared<type>(#name)

#define MR_SHARED_PTR(type) ::millrace::simt::SharedPtr<type>

#define MR_SHARED_CAST(type, pointer) ((pointer).template Cast<type>())

#define MR_SHARED_SLICE(type, pointer, offset_bytes, count) \
  ((pointer).template Slice<type>((offset_bytes), (count)))

#define MR_LAUNCH(kernel, grid, block, dynamic_shared_bytes, stream, ...)              \
  ::millrace::simt::Launch(#kernel, (kernel), (grid), (block), (dynamic_shared_bytes), \
                           (stream)__VA_OPT__(, ) __VA_ARGS__)

#define MR_UNROLL
#define MR_NO_UNROLL

#include "kernels/simt/atomics.h"
#include "kernels/simt/device.h"
#include "kernels/simt/intrinsics.h"
#include "kernels/simt/launch.h"
#include "kernels/simt/report.h"
#include "kernels/simt/runtime.h"
#include "kernels/simt/shared.h"
#include "kernels/simt/vector_types.h"
