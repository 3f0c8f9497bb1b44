#include "common/testing/allocations.h"

#include <errno.h>
#include <stdlib.h>

#include <new>

namespace {

// Reached without a call, since the first use of a thread-local of a library may allocate itself.
[[gnu::tls_model("initial-exec")]] thread_local uint64_t allocations = 0;

}  // namespace

namespace millrace {

uint64_t Allocations() { return allocations; }

}  // namespace millrace

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

// glibc's own functions under the names that it keeps for whoever stands in front of them.
extern "C" {

void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t count, size_t bytes);
void* __libc_realloc(void* memory, size_t bytes);
void* __libc_memalign(size_t border, size_t bytes);

void* malloc(size_t bytes) {
  ++allocations;
  return __libc_malloc(bytes);
}

void* calloc(size_t count, size_t bytes) {
  ++allocations;
  return __libc_calloc(count, bytes);
}

void* realloc(void* memory, size_t bytes) {
  ++allocations;
  return __libc_realloc(memory, bytes);
}

void* memalign(size_t border, size_t bytes) {
  ++allocations;
  return __libc_memalign(border, bytes);
}

void* aligned_alloc(size_t border, size_t bytes) {
  ++allocations;
  return __libc_memalign(border, bytes);
}

int posix_memalign(void** memory, size_t border, size_t bytes) {
  if (border % sizeof(void*) != 0 || border == 0 || (border & (border - 1)) != 0) return EINVAL;
  ++allocations;
  void* const found = __libc_memalign(border, bytes);
  if (found == nullptr) return ENOMEM;
  *memory = found;
  return 0;
}

}  // extern "C"

#else

namespace {

void* Count(size_t bytes) {
  ++allocations;
  return malloc(bytes > 0 ? bytes : 1);
}

void* CountAligned(size_t bytes, std::align_val_t alignment) {
  ++allocations;
  const auto border = static_cast<size_t>(alignment);
  return aligned_alloc(border, (bytes + border - 1) / border * border);
}

void* OrThrow(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

// Not inlined: the compiler would take malloc and delete for a mismatched pair. The forms for
// arrays call these.
[[gnu::noinline]] void* operator new(size_t bytes) { return OrThrow(Count(bytes)); }
[[gnu::noinline]] void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  return Count(bytes);
}
[[gnu::noinline]] void* operator new(size_t bytes, std::align_val_t alignment) {
  return OrThrow(CountAligned(bytes, alignment));
}
[[gnu::noinline]] void* operator new(size_t bytes, std::align_val_t alignment,
                                     const std::nothrow_t&) noexcept {
  return CountAligned(bytes, alignment);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept { free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t, std::align_val_t) noexcept {
  free(memory);
}

#endif
