#include "kernels/simt/memory_table.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "common/check.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) static_cast<void>(address)
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) static_cast<void>(address)
#endif

namespace millrace::simt {
namespace {

constexpr std::size_t kGranule = 256;
constexpr std::size_t kPage = 4096;
constexpr int kPoison = 0xcd;

// What the device's pool counts for an allocation.
std::size_t Rounded(std::size_t bytes) { return (bytes + kGranule - 1) / kGranule * kGranule; }

std::uintptr_t Number(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

struct Pages {
  bool mapped = false;
  bool writable = false;
};

// What the process may do with all pages of a range.
Pages PagesOf(std::uintptr_t begin, std::uintptr_t end) {
  std::FILE* maps = std::fopen("/proc/self/maps", "re");
  MR_CHECK(maps != nullptr, "/proc/self/maps can be read");
  Pages pages{false, true};
  char line[512];
  std::uintptr_t at = begin;
  while (at < end && std::fgets(line, sizeof(line), maps) != nullptr) {
    unsigned long low = 0, high = 0;
    char access[8] = {};
    if (std::sscanf(line, "%lx-%lx %7s", &low, &high, access) != 3) continue;
    if (high <= at) continue;
    if (low > at || access[0] != 'r') break;
    pages.writable &= access[1] == 'w';
    at = high;
  }
  std::fclose(maps);
  pages.mapped = at >= end;
  return pages;
}

}  // namespace

void MemoryTable::Clear() {
  for (const auto& [at, range] : host_) {
    if (range.allocated) std::free(reinterpret_cast<void*>(at));
  }
  host_.clear();
  device_.clear();
  device_used_ = 0;
  if (pool_ != nullptr) {
    ASAN_UNPOISON_MEMORY_REGION(pool_, pool_bytes_);
    munmap(pool_, pool_bytes_);
  }
  pool_ = nullptr;
}

void MemoryTable::Reset(std::size_t device_bytes) {
  Clear();
  device_bytes_ = device_bytes;
}

void MemoryTable::EnsurePool() {
  if (pool_ != nullptr) return;
  // A granule between any two allocations costs the pool nothing.
  pool_bytes_ = (2 * device_bytes_ + 2 * kPage - 1) / kPage * kPage;
  void* pool = mmap(nullptr, pool_bytes_, open_ > 0 ? PROT_READ | PROT_WRITE : PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  MR_CHECK(pool != MAP_FAILED, "there is address space for the device's memory");
  pool_ = static_cast<char*>(pool);
  ASAN_POISON_MEMORY_REGION(pool_, pool_bytes_);
}

void MemoryTable::Open() {
  if (open_++ == 0 && pool_ != nullptr) {
    MR_CHECK(mprotect(pool_, pool_bytes_, PROT_READ | PROT_WRITE) == 0, "the pool can be opened");
  }
}

void MemoryTable::Close() {
  if (--open_ == 0 && pool_ != nullptr) {
    MR_CHECK(mprotect(pool_, pool_bytes_, PROT_NONE) == 0, "the pool can be closed");
  }
}

void* MemoryTable::AllocateDevice(std::size_t bytes) {
  if (bytes > device_bytes_ || Rounded(bytes) > device_bytes_ - device_used_) return nullptr;
  EnsurePool();
  std::uintptr_t at = Number(pool_) + kGranule;
  for (const auto& [begin, size] : device_) {  // first fit
    if (begin - at >= Rounded(bytes) + kGranule && begin > at) break;
    at = begin + Rounded(size) + kGranule;
  }
  if (at + Rounded(bytes) + kGranule > Number(pool_) + pool_bytes_) return nullptr;
  device_.emplace(at, bytes);
  device_used_ += Rounded(bytes);
  void* const pointer = reinterpret_cast<void*>(at);
  ASAN_UNPOISON_MEMORY_REGION(pointer, bytes);
  Open();
  std::memset(pointer, kPoison, bytes);
  Close();
  return pointer;
}

bool MemoryTable::FreeDevice(void* pointer) {
  const auto found = device_.find(Number(pointer));
  if (found == device_.end()) return false;
  ASAN_POISON_MEMORY_REGION(pointer, found->second);
  device_used_ -= Rounded(found->second);
  device_.erase(found);
  return true;
}

void* MemoryTable::AllocateHost(std::size_t bytes) {
  void* const pointer = std::aligned_alloc(kPage, (bytes + kPage - 1) / kPage * kPage);
  if (pointer == nullptr) return nullptr;
  std::memset(pointer, kPoison, bytes);
  host_.emplace(Number(pointer), HostRange{bytes, true, true});
  return pointer;
}

bool MemoryTable::FreeHost(void* pointer) {
  const auto found = host_.find(Number(pointer));
  if (found == host_.end() || !found->second.allocated) return false;
  host_.erase(found);
  std::free(pointer);
  return true;
}

cudaError_t MemoryTable::Register(void* pointer, std::size_t bytes, unsigned flags) {
  const std::uintptr_t begin = Number(pointer);
  const std::uintptr_t end = begin + bytes;
  if (pointer == nullptr || bytes == 0 || end < begin) return cudaErrorInvalidValue;
  constexpr unsigned kKnown =
      cudaHostRegisterPortable | cudaHostRegisterMapped | cudaHostRegisterReadOnly;
  if ((flags & ~kKnown) != 0 || InPool(begin)) return cudaErrorInvalidValue;
  const auto after = host_.lower_bound(end);
  if (after != host_.begin()) {
    const auto& [at, range] = *std::prev(after);
    if (at + range.bytes > begin) return cudaErrorHostMemoryAlreadyRegistered;
  }
  const Pages pages = PagesOf(begin, end);
  if (!pages.mapped) return cudaErrorInvalidValue;
  if (!pages.writable && (flags & cudaHostRegisterReadOnly) == 0) return cudaErrorInvalidValue;
  host_.emplace(begin, HostRange{bytes, false, (flags & cudaHostRegisterMapped) != 0});
  return cudaSuccess;
}

cudaError_t MemoryTable::Unregister(void* pointer) {
  const auto found = host_.find(Number(pointer));
  if (found == host_.end()) return cudaErrorHostMemoryNotRegistered;
  if (found->second.allocated) return cudaErrorInvalidValue;
  host_.erase(found);
  return cudaSuccess;
}

bool MemoryTable::InPool(std::uintptr_t at) const {
  return pool_ != nullptr && at >= Number(pool_) && at < Number(pool_) + pool_bytes_;
}

const std::pair<const std::uintptr_t, MemoryTable::HostRange>* MemoryTable::HostRangeOf(
    std::uintptr_t at) const {
  const auto after = host_.upper_bound(at);
  return after == host_.begin() ? nullptr : &*std::prev(after);
}

Place MemoryTable::Find(const void* pointer, std::size_t bytes) const {
  const std::uintptr_t begin = Number(pointer);
  if (InPool(begin)) {
    const auto after = device_.upper_bound(begin);
    if (after == device_.begin()) return Place::kInvalid;
    const auto& [at, size] = *std::prev(after);
    return begin - at <= size && bytes <= size - (begin - at) ? Place::kDevice : Place::kInvalid;
  }
  const auto* range = HostRangeOf(begin);
  if (range != nullptr && begin < range->first + range->second.bytes) {
    return begin + bytes <= range->first + range->second.bytes ? Place::kPinned : Place::kInvalid;
  }
  return Place::kPageable;
}

bool MemoryTable::DeviceSees(const void* pointer) const {
  const std::uintptr_t at = Number(pointer);
  if (InPool(at)) return Find(pointer, 0) == Place::kDevice;
  const auto* range = HostRangeOf(at);
  return range != nullptr && range->second.mapped && at <= range->first + range->second.bytes;
}

void* MemoryTable::Mapped(void* pointer) const {
  const std::uintptr_t at = Number(pointer);
  const auto* range = HostRangeOf(at);
  if (range == nullptr || !range->second.mapped || at >= range->first + range->second.bytes) {
    return nullptr;
  }
  return pointer;
}

}  // namespace millrace::simt
