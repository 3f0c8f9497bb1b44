// What a CUDA thread can say of itself and to the others of its block.
//
// Purpose: threadIdx and its kin, barriers, votes, shuffles: CUDA's names over engine.h.
// Who may call: kernels and their device functions, from inside a launch only.
// Invariants:
//   1. A call carries its place in the source, so that reports can name it and so that two barriers
//      at two places are known to be two.
#pragma once

#include <cstdint>
#include <cstring>
#include <source_location>
#include <type_traits>

#include "kernels/simt/engine.h"
#include "kernels/simt/vector_types.h"

#define threadIdx (::millrace::simt::current_thread->thread)
#define blockIdx (::millrace::simt::current_thread->block)
#define blockDim (::millrace::simt::current_thread->block_size)
#define gridDim (::millrace::simt::current_thread->grid_size)

inline constexpr int warpSize = 32;

// A source location that a caller never gives.
#define MR_SIMT_HERE const std::source_location& here = std::source_location::current()

inline void __syncthreads(MR_SIMT_HERE) {
  ::millrace::simt::Barrier(::millrace::simt::BarrierFold::kNone, false, here);
}
inline int __syncthreads_count(int predicate, MR_SIMT_HERE) {
  return static_cast<int>(
      ::millrace::simt::Barrier(::millrace::simt::BarrierFold::kCount, predicate != 0, here));
}
inline int __syncthreads_and(int predicate, MR_SIMT_HERE) {
  return static_cast<int>(
      ::millrace::simt::Barrier(::millrace::simt::BarrierFold::kAnd, predicate != 0, here));
}
inline int __syncthreads_or(int predicate, MR_SIMT_HERE) {
  return static_cast<int>(
      ::millrace::simt::Barrier(::millrace::simt::BarrierFold::kOr, predicate != 0, here));
}

inline void __syncwarp(unsigned mask = 0xffffffffu, MR_SIMT_HERE) {
  ::millrace::simt::Collective({.op = ::millrace::simt::Op::kSyncWarp, .mask = mask, .site = here});
}

inline unsigned __ballot_sync(unsigned mask, int predicate, MR_SIMT_HERE) {
  return static_cast<unsigned>(
      ::millrace::simt::Collective({.op = ::millrace::simt::Op::kBallot,
                                    .mask = mask,
                                    .value = static_cast<std::uint64_t>(predicate != 0),
                                    .site = here}));
}
inline int __any_sync(unsigned mask, int predicate, MR_SIMT_HERE) {
  return __ballot_sync(mask, predicate, here) != 0;
}
inline int __all_sync(unsigned mask, int predicate, MR_SIMT_HERE) {
  return __ballot_sync(mask, predicate, here) == mask;
}

// The lanes that have not exited. CUDA promises less: those that run together just now.
inline unsigned __activemask() { return ::millrace::simt::LiveLanes(); }

namespace millrace::simt {

template <class T>
T ShuffleValue(Op op, unsigned mask, T value, int operand, int width,
               const std::source_location& here) {
  static_assert(std::is_arithmetic_v<T>, "numbers are shuffled");
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = Collective(
      {.op = op, .mask = mask, .value = bits, .operand = operand, .width = width, .site = here});
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

template <class T>
T ReduceValue(Op op, unsigned mask, T value, const std::source_location& here) {
  return static_cast<T>(static_cast<std::uint32_t>(Collective(
      {.op = op, .mask = mask, .value = static_cast<std::uint32_t>(value), .site = here})));
}

}  // namespace millrace::simt

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32, MR_SIMT_HERE) {
  return ::millrace::simt::ShuffleValue(::millrace::simt::Op::kShuffle, mask, value, lane, width,
                                        here);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, MR_SIMT_HERE) {
  return ::millrace::simt::ShuffleValue(::millrace::simt::Op::kShuffleUp, mask, value,
                                        static_cast<int>(delta), width, here);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, MR_SIMT_HERE) {
  return ::millrace::simt::ShuffleValue(::millrace::simt::Op::kShuffleDown, mask, value,
                                        static_cast<int>(delta), width, here);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, MR_SIMT_HERE) {
  return ::millrace::simt::ShuffleValue(::millrace::simt::Op::kShuffleXor, mask, value, lane_mask,
                                        width, here);
}

template <class T>
unsigned __match_any_sync(unsigned mask, T value, MR_SIMT_HERE) {
  return ::millrace::simt::ShuffleValue(
      ::millrace::simt::Op::kMatchAny, mask,
      [&] {
        std::uint64_t bits = 0;
        std::memcpy(&bits, &value, sizeof(T));
        return bits;
      }(),
      0, 32, here);
}

#define MR_SIMT_REDUCE(name, type, op)                                                 \
  inline type name(unsigned mask, type value, MR_SIMT_HERE) {                          \
    return ::millrace::simt::ReduceValue(::millrace::simt::Op::op, mask, value, here); \
  }
MR_SIMT_REDUCE(__reduce_add_sync, unsigned, kReduceAdd)
MR_SIMT_REDUCE(__reduce_add_sync, int, kReduceAdd)
MR_SIMT_REDUCE(__reduce_min_sync, unsigned, kReduceMin)
MR_SIMT_REDUCE(__reduce_min_sync, int, kReduceMinSigned)
MR_SIMT_REDUCE(__reduce_max_sync, unsigned, kReduceMax)
MR_SIMT_REDUCE(__reduce_max_sync, int, kReduceMaxSigned)
MR_SIMT_REDUCE(__reduce_and_sync, unsigned, kReduceAnd)
MR_SIMT_REDUCE(__reduce_or_sync, unsigned, kReduceOr)
MR_SIMT_REDUCE(__reduce_xor_sync, unsigned, kReduceXor)
#undef MR_SIMT_REDUCE

// Threads of a block run on one CPU thread; host threads may watch mapped memory.
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_system() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

// Gives way to the other threads of the block, as a spinning thread must.
inline void __nanosleep(unsigned /*duration_ns*/) { ::millrace::simt::Sleep(); }

[[noreturn]] inline void __trap(MR_SIMT_HERE) { ::millrace::simt::Trap(here); }

#undef MR_SIMT_HERE
