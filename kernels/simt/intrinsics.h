// CUDA's arithmetic functions: bits, conversions, and sums with a named rounding.
//
// Who may call: kernels.
// Invariants:
//   1. The _rn forms round to nearest and are never fused: the build has -ffp-contract=off.
//   2. Bit-equal to the device except for NaNs: a device gives 0x7fffffff where the CPU keeps the
//      operand's payload.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

template <class T>
inline T __ldg(const T* at) {
  return *at;
}

inline int __popc(unsigned value) { return std::popcount(value); }
inline int __popcll(unsigned long long value) { return std::popcount(value); }
inline int __clz(int value) { return std::countl_zero(static_cast<unsigned>(value)); }
inline int __clzll(long long value) {
  return std::countl_zero(static_cast<unsigned long long>(value));
}
inline int __ffs(int value) { return __builtin_ffs(value); }
inline int __ffsll(long long value) { return __builtin_ffsll(value); }
inline unsigned __brev(unsigned value) {
  value = (value >> 1 & 0x55555555u) | (value & 0x55555555u) << 1;
  value = (value >> 2 & 0x33333333u) | (value & 0x33333333u) << 2;
  value = (value >> 4 & 0x0f0f0f0fu) | (value & 0x0f0f0f0fu) << 4;
  return __builtin_bswap32(value);
}
inline unsigned __umulhi(unsigned left, unsigned right) {
  return static_cast<unsigned>(static_cast<std::uint64_t>(left) * right >> 32);
}

inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
inline int __float_as_int(float value) { return std::bit_cast<int>(value); }
inline float __uint_as_float(unsigned value) { return std::bit_cast<float>(value); }
inline float __int_as_float(int value) { return std::bit_cast<float>(value); }
inline long long __double_as_longlong(double value) { return std::bit_cast<long long>(value); }
inline double __longlong_as_double(long long value) { return std::bit_cast<double>(value); }

inline float __fadd_rn(float left, float right) { return left + right; }
inline float __fsub_rn(float left, float right) { return left - right; }
inline float __fmul_rn(float left, float right) { return left * right; }
inline float __fdiv_rn(float left, float right) { return left / right; }
inline float __fsqrt_rn(float value) { return std::sqrt(value); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline double __dadd_rn(double left, double right) { return left + right; }
inline double __dsub_rn(double left, double right) { return left - right; }
inline double __dmul_rn(double left, double right) { return left * right; }
inline double __ddiv_rn(double left, double right) { return left / right; }
inline double __dsqrt_rn(double value) { return std::sqrt(value); }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }

inline float __double2float_rn(double value) { return static_cast<float>(value); }
inline float __int2float_rn(int value) { return static_cast<float>(value); }
inline float __uint2float_rn(unsigned value) { return static_cast<float>(value); }
inline double __ll2double_rn(long long value) { return static_cast<double>(value); }
inline double __ull2double_rn(unsigned long long value) { return static_cast<double>(value); }

// Out of range a device saturates, and makes 0 of a NaN; C++ has no answer.
inline int __float2int_rz(float value) {
  if (std::isnan(value)) return 0;
  if (value >= 2147483648.0f) return 2147483647;
  if (value <= -2147483648.0f) return -2147483647 - 1;
  return static_cast<int>(value);
}
inline int __double2int_rz(double value) {
  if (std::isnan(value)) return 0;
  if (value >= 2147483647.0) return 2147483647;
  if (value <= -2147483648.0) return -2147483647 - 1;
  return static_cast<int>(value);
}

// CUDA has these as plain overloads, in device and host code alike.
#define MR_SIMT_MIN_MAX(type)                                                    \
  inline type min(type left, type right) { return right < left ? right : left; } \
  inline type max(type left, type right) { return left < right ? right : left; }
MR_SIMT_MIN_MAX(int)
MR_SIMT_MIN_MAX(unsigned int)
MR_SIMT_MIN_MAX(long)
MR_SIMT_MIN_MAX(unsigned long)
MR_SIMT_MIN_MAX(long long)
MR_SIMT_MIN_MAX(unsigned long long)
#undef MR_SIMT_MIN_MAX
inline float min(float left, float right) { return std::fmin(left, right); }
inline float max(float left, float right) { return std::fmax(left, right); }
inline double min(double left, double right) { return std::fmin(left, right); }
inline double max(double left, double right) { return std::fmax(left, right); }
