// The one header that CUDA code of Millrace includes: kernels and the host code that launches them.
//
// Purpose: under nvcc it is the CUDA runtime; under the host compiler it is the SIMT shim, which
//   runs the same source on the CPU and checks it. Beside CUDA's own names it has the few macros
//   that plain CUDA has no word for (README.md shows each).
// Who may call: code in kernels/cuda and tests.
// Invariants:
//   1. A source that compiles here under the host compiler with no CUDA toolkit compiles under
//   nvcc.
//   2. Under nvcc every macro is what one would have written by hand: it costs nothing.
//   3. Needs nothing but the standard library.
#pragma once

#if defined(__CUDACC__)

#include <cuda_runtime.h>

// A static array in shared memory: MR_SHARED(float, tile, 256); then tile[i], tile + i, &tile[i].
#define MR_SHARED(type, name, count) __shared__ type name[count]

// The block's dynamic shared memory, aligned to 16 bytes: MR_DYNAMIC_SHARED(unsigned char, pool).
#define MR_DYNAMIC_SHARED(type, name)                                      \
  extern __shared__ __align__(16) unsigned char millrace_dynamic_shared[]; \
  type* const name = reinterpret_cast<type*>(millrace_dynamic_shared)

// The type of a pointer into shared memory, for parameters and variables.
#define MR_SHARED_PTR(type) type*

// The same place seen as another type.
#define MR_SHARED_CAST(type, pointer) (reinterpret_cast<type*>(pointer))

// An array of `count` elements that begins `offset_bytes` behind `pointer`: a piece of a pool, with
// bounds of its own under the shim.
#define MR_SHARED_SLICE(type, pointer, offset_bytes, count) \
  (reinterpret_cast<type*>(reinterpret_cast<unsigned char*>(pointer) + (offset_bytes)))

#define MR_LAUNCH(kernel, grid, block, dynamic_shared_bytes, stream, ...) \
  kernel<<<(grid), (block), (dynamic_shared_bytes), (stream)>>>(__VA_ARGS__)

#define MR_UNROLL _Pragma("unroll")
#define MR_NO_UNROLL _Pragma("unroll 1")

#else

#include "kernels/simt/shim.h"

#endif
