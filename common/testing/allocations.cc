#include "common/testing/allocations.h"

#include <stdlib.h>

#include <new>

namespace {

thread_local uint64_t allocations = 0;

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

namespace millrace {

uint64_t Allocations() { return allocations; }

}  // namespace millrace

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
