#include "services/runtime/heap_samples.h"

#include <dlfcn.h>
#include <gperftools/malloc_extension.h>

#include <memory>

namespace millrace {
namespace {

constexpr uintptr_t kMostDepth = 1024;

// tcmalloc's, as it calls it.
MallocExtension* Extension() {
  using Instance = MallocExtension* (*)();
  static const auto instance =
      reinterpret_cast<Instance>(dlsym(RTLD_DEFAULT, "_ZN15MallocExtension8instanceEv"));
  return instance == nullptr ? nullptr : instance();
}

// Entries of count, bytes, depth and addresses, up to one whose count is 0.
using Entries = std::unique_ptr<void*[]>;

// Its class has no definition here, so nothing of it can be checked.
__attribute__((no_sanitize("vptr"))) Entries ReadEntries(int* period_bytes) {
  *period_bytes = 0;
  MallocExtension* const extension = Extension();
  return Entries(extension == nullptr ? nullptr : extension->ReadStackTraces(period_bytes));
}

}  // namespace

bool HeapIsSampled() {
  int period_bytes = 0;
  ReadEntries(&period_bytes);
  return period_bytes > 0;
}

std::vector<HeapSample> HeapSamples(int64_t* period_bytes) {
  int period = 0;
  const Entries entries = ReadEntries(&period);
  *period_bytes = period;
  std::vector<HeapSample> samples;
  if (entries == nullptr || period <= 0) return samples;
  for (void* const* at = entries.get(); reinterpret_cast<uintptr_t>(at[0]) != 0;) {
    const auto depth = reinterpret_cast<uintptr_t>(at[2]);
    if (depth > kMostDepth) break;
    HeapSample sample;
    sample.count = static_cast<int64_t>(reinterpret_cast<uintptr_t>(at[0]));
    sample.bytes = static_cast<int64_t>(reinterpret_cast<uintptr_t>(at[1]));
    for (uintptr_t i = 0; i < depth; ++i) {
      sample.stack.push_back(reinterpret_cast<uintptr_t>(at[3 + i]));
    }
    samples.push_back(std::move(sample));
    at += 3 + depth;
  }
  return samples;
}

}  // namespace millrace
