// CUDA's atomic functions on global and on shared memory.
//
// Purpose: the overloads that CUDA has (int, unsigned, unsigned long long, float, double), so that
//   what compiles here compiles there.
// Who may call: kernels.
// Invariants:
//   1. Each gives the old value and is undivided, also against host threads on mapped memory.
//   2. Atomics on shared memory do not race among each other; with plain accesses they do.
//   3. Memory orders are sequentially consistent; CUDA's are relaxed. Do not lean on it.
#pragma once

#include <cstring>

#include "kernels/simt/engine.h"
#include "kernels/simt/shared.h"

namespace millrace::simt {

template <class T, class F>
T ModifyGlobal(T* at, F change) {
  SwitchPoint();
  T old;
  __atomic_load(at, &old, __ATOMIC_SEQ_CST);
  T value = change(old);
  while (!__atomic_compare_exchange(at, &old, &value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    value = change(old);
  }
  return old;
}

template <class T, class F>
T ModifyShared(const SharedPtr<T>& at, F change) {
  return (*at).Modify(change);
}

}  // namespace millrace::simt

// One function on both kinds of memory; `expression` is the new value from `old` and `operand`.
#define MR_SIMT_ATOMIC(name, type, expression)                                               \
  inline type name(type* at, type operand) {                                                 \
    return ::millrace::simt::ModifyGlobal(at, [&](type old) -> type { return expression; }); \
  }                                                                                          \
  inline type name(const ::millrace::simt::SharedPtr<type>& at, type operand) {              \
    return ::millrace::simt::ModifyShared(at, [&](type old) -> type { return expression; }); \
  }
#define MR_SIMT_ATOMIC_INTEGERS(name, expression) \
  MR_SIMT_ATOMIC(name, unsigned int, expression)  \
  MR_SIMT_ATOMIC(name, unsigned long long, expression)
#define MR_SIMT_CAS(type)                                                                        \
  inline type atomicCAS(type* at, type compare, type value) {                                    \
    return ::millrace::simt::ModifyGlobal(                                                       \
        at, [&](type old) -> type { return old == compare ? value : old; });                     \
  }                                                                                              \
  inline type atomicCAS(const ::millrace::simt::SharedPtr<type>& at, type compare, type value) { \
    return ::millrace::simt::ModifyShared(                                                       \
        at, [&](type old) -> type { return old == compare ? value : old; });                     \
  }

// Signed sums wrap, as on the device.
MR_SIMT_ATOMIC_INTEGERS(atomicAdd, old + operand)
MR_SIMT_ATOMIC(atomicAdd, int,
               static_cast<int>(static_cast<unsigned>(old) + static_cast<unsigned>(operand)))
MR_SIMT_ATOMIC(atomicAdd, float, old + operand)
MR_SIMT_ATOMIC(atomicAdd, double, old + operand)
MR_SIMT_ATOMIC(atomicSub, unsigned int, old - operand)
MR_SIMT_ATOMIC(atomicSub, int,
               static_cast<int>(static_cast<unsigned>(old) - static_cast<unsigned>(operand)))
MR_SIMT_ATOMIC_INTEGERS(atomicMin, old < operand ? old : operand)
MR_SIMT_ATOMIC(atomicMin, int, old < operand ? old : operand)
MR_SIMT_ATOMIC(atomicMin, long long, old < operand ? old : operand)
MR_SIMT_ATOMIC_INTEGERS(atomicMax, old > operand ? old : operand)
MR_SIMT_ATOMIC(atomicMax, int, old > operand ? old : operand)
MR_SIMT_ATOMIC(atomicMax, long long, old > operand ? old : operand)
MR_SIMT_ATOMIC_INTEGERS(atomicAnd, old& operand)
MR_SIMT_ATOMIC(atomicAnd, int, old& operand)
MR_SIMT_ATOMIC_INTEGERS(atomicOr, old | operand)
MR_SIMT_ATOMIC(atomicOr, int, old | operand)
MR_SIMT_ATOMIC_INTEGERS(atomicXor, old ^ operand)
MR_SIMT_ATOMIC(atomicXor, int, old ^ operand)
MR_SIMT_ATOMIC_INTEGERS(atomicExch, (static_cast<void>(old), operand))
MR_SIMT_ATOMIC(atomicExch, int, (static_cast<void>(old), operand))
MR_SIMT_ATOMIC(atomicExch, float, (static_cast<void>(old), operand))
MR_SIMT_ATOMIC(atomicInc, unsigned int, old >= operand ? 0 : old + 1)
MR_SIMT_CAS(unsigned int)
MR_SIMT_CAS(int)
MR_SIMT_CAS(unsigned long long)

#undef MR_SIMT_ATOMIC
#undef MR_SIMT_ATOMIC_INTEGERS
#undef MR_SIMT_CAS
