#include "tools/bench/ipc_bench/touch.h"

#include <immintrin.h>

namespace millrace::bench::internal {
namespace {

// Words of the compiler's own vectors, of `kBytes` bytes; loads and stores need no alignment.
template <size_t kBytes>
struct Vector {
  typedef uint64_t Type __attribute__((vector_size(kBytes), aligned(8), may_alias));
};

template <size_t kBytes>
[[gnu::always_inline]] inline void Fill(std::byte* to, size_t bytes, uint64_t stamp) {
  using V = typename Vector<kBytes>::Type;
  const V value = V{} + stamp;
  size_t i = 0;
  for (; i + 4 * kBytes <= bytes; i += 4 * kBytes) {
    V* at = reinterpret_cast<V*>(to + i);
    at[0] = value;
    at[1] = value;
    at[2] = value;
    at[3] = value;
  }
  for (; i < bytes; i += 8) memcpy(to + i, &stamp, 8);
}

template <size_t kBytes>
[[gnu::always_inline]] inline bool Check(const std::byte* from, size_t bytes, uint64_t stamp) {
  using V = typename Vector<kBytes>::Type;
  const V value = V{} + stamp;
  V difference0 = {}, difference1 = {}, difference2 = {}, difference3 = {};
  size_t i = 0;
  for (; i + 4 * kBytes <= bytes; i += 4 * kBytes) {
    const V* at = reinterpret_cast<const V*>(from + i);
    difference0 |= at[0] ^ value;
    difference1 |= at[1] ^ value;
    difference2 |= at[2] ^ value;
    difference3 |= at[3] ^ value;
  }
  const V all = (difference0 | difference1) | (difference2 | difference3);
  uint64_t rest = 0;
  for (size_t k = 0; k < kBytes / 8; ++k) rest |= all[k];
  for (; i < bytes; i += 8) {
    uint64_t word;
    memcpy(&word, from + i, 8);
    rest |= word ^ stamp;
  }
  return rest == 0;
}

void Fill16(std::byte* to, size_t bytes, uint64_t stamp) { Fill<16>(to, bytes, stamp); }
__attribute__((target("avx2"))) void Fill32(std::byte* to, size_t bytes, uint64_t stamp) {
  Fill<32>(to, bytes, stamp);
}
__attribute__((target("avx512f"))) void Fill64(std::byte* to, size_t bytes, uint64_t stamp) {
  Fill<64>(to, bytes, stamp);
}
bool Check16(const std::byte* from, size_t bytes, uint64_t stamp) {
  return Check<16>(from, bytes, stamp);
}
__attribute__((target("avx2"))) bool Check32(const std::byte* from, size_t bytes, uint64_t stamp) {
  return Check<32>(from, bytes, stamp);
}
__attribute__((target("avx512f"))) bool Check64(const std::byte* from, size_t bytes,
                                                uint64_t stamp) {
  return Check<64>(from, bytes, stamp);
}

int Width() {
  if (__builtin_cpu_supports("avx512f")) return 64;
  return __builtin_cpu_supports("avx2") ? 32 : 16;
}

}  // namespace

void (*const fill_wide)(std::byte*, size_t, uint64_t) = Width() == 64   ? Fill64
                                                        : Width() == 32 ? Fill32
                                                                        : Fill16;
bool (*const check_wide)(const std::byte*, size_t, uint64_t) = Width() == 64   ? Check64
                                                               : Width() == 32 ? Check32
                                                                               : Check16;

}  // namespace millrace::bench::internal
