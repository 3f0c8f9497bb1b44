// CUDA's vector types: the same names, members, sizes and alignments.
//
// Who may call: anyone who includes kernels/simt/cuda.h.
// Invariants:
//   1. Memory may be read as any of these types (may_alias), as device code does.
#pragma once

// One type of 1 to 4 members with its make_ function.
#define MR_SIMT_VECTOR(type, name, bytes2, bytes4)                               \
  struct __attribute__((may_alias)) name##1 {                                    \
    type x;                                                                      \
  };                                                                             \
  struct __attribute__((may_alias, aligned(bytes2))) name##2 {                   \
    type x, y;                                                                   \
  };                                                                             \
  struct __attribute__((may_alias)) name##3 {                                    \
    type x, y, z;                                                                \
  };                                                                             \
  struct __attribute__((may_alias, aligned(bytes4))) name##4 {                   \
    type x, y, z, w;                                                             \
  };                                                                             \
  constexpr name##1 make_##name##1(type x) { return {x}; }                       \
  constexpr name##2 make_##name##2(type x, type y) { return {x, y}; }            \
  constexpr name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; } \
  constexpr name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }

MR_SIMT_VECTOR(signed char, char, 2, 4)
MR_SIMT_VECTOR(unsigned char, uchar, 2, 4)
MR_SIMT_VECTOR(short, short, 4, 8)
MR_SIMT_VECTOR(unsigned short, ushort, 4, 8)
MR_SIMT_VECTOR(int, int, 8, 16)
MR_SIMT_VECTOR(unsigned int, uint, 8, 16)
MR_SIMT_VECTOR(long long, longlong, 16, 16)
MR_SIMT_VECTOR(unsigned long long, ulonglong, 16, 16)
MR_SIMT_VECTOR(float, float, 8, 16)
MR_SIMT_VECTOR(double, double, 16, 16)
#undef MR_SIMT_VECTOR

struct dim3 {
  unsigned int x = 1, y = 1, z = 1;
  constexpr dim3(unsigned int x_size = 1, unsigned int y_size = 1, unsigned int z_size = 1)
      : x(x_size), y(y_size), z(z_size) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
  constexpr operator uint3() const { return {x, y, z}; }
};
