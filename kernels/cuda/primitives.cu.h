// The few operations that the kernels want exactly so: rounding, and copies into shared memory.
//
// Who may call: device code of kernels/cuda.
// Invariants:
//   1. Sums and products round once, to nearest; none is fused, whatever flags the build has.
//   2. What CopyAsync16 copies is there for its thread after CopyWait, for the block after the next
//      barrier. Under the SIMT shim the copy is made at once.
//   3. Whoever on the host sees what StoreRelease stored sees all that its thread had seen. Whoever
//   gets a ticket from TakeTicket has seen what stood before the tickets that were taken earlier.
#pragma once

#include <stdint.h>

#include "kernels/simt/cuda.h"

#if defined(__CUDACC__)
#include <cuda_pipeline_primitives.h>
#else
#include <atomic>
#endif

// Unrolls the loop that follows so many times.
#if defined(__CUDACC__)
#define MR_PRAGMA(text) _Pragma(#text)
#define MR_UNROLL_BY(times) MR_PRAGMA(unroll times)
#else
#define MR_UNROLL_BY(times)
#endif

namespace millrace::cuda {

__device__ __forceinline__ float Add(float a, float b) { return __fadd_rn(a, b); }
__device__ __forceinline__ double Add(double a, double b) { return __dadd_rn(a, b); }
__device__ __forceinline__ double Multiply(double a, double b) { return __dmul_rn(a, b); }

#if defined(__CUDACC__)
// Both places are aligned to 16 bytes.
__device__ __forceinline__ void CopyAsync16(uint4* to, const uint4* from) {
  __pipeline_memcpy_async(to, from, sizeof(uint4));
}
__device__ __forceinline__ void CopyWait() {
  __pipeline_commit();
  __pipeline_wait_prior(0);
}
// Adds 1 to what the blocks of a launch share, and returns what it was.
__device__ __forceinline__ uint32_t TakeTicket(uint32_t* ticket) {
  uint32_t before;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], 1;"
               : "=r"(before)
               : "l"(ticket)
               : "memory");
  return before;
}
__device__ __forceinline__ void StoreRelease(uint64_t* to, uint64_t value) {
  asm volatile("st.release.sys.u64 [%0], %1;" ::"l"(to), "l"(value) : "memory");
}
#else
inline void CopyAsync16(MR_SHARED_PTR(uint4) to, const uint4* from) { *to = *from; }
inline void CopyWait() {}
inline uint32_t TakeTicket(uint32_t* ticket) { return atomicAdd(ticket, 1u); }
inline void StoreRelease(uint64_t* to, uint64_t value) {
  // release: meets the acquire in Model::Done.
  std::atomic_ref<uint64_t>(*to).store(value, std::memory_order_release);
}
#endif

}  // namespace millrace::cuda
