// Which memory is the device's, which is the host's and pinned, and which is neither.
//
// Purpose: device memory is one mapping that faults when the host touches it; host ranges are
//   remembered. Every pointer that reaches the runtime is looked up here.
// Who may call: the runtime, under its lock.
// Ownership: owns the pool of device memory and what AllocateHost gave.
// Invariants:
//   1. Device memory outside an allocation is poisoned for AddressSanitizer, and between two
//      allocations lies at least one granule.
//   2. The pool can be read and written only while open (Open and Close nest).
//   3. New memory holds 0xcd in every byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

#include "kernels/simt/runtime_types.h"

namespace millrace::simt {

enum class Place { kDevice, kPinned, kPageable, kInvalid };

class MemoryTable {
 public:
  MemoryTable() = default;
  ~MemoryTable() { Clear(); }
  MemoryTable(const MemoryTable&) = delete;
  MemoryTable& operator=(const MemoryTable&) = delete;

  // Frees everything; the pool will have this size.
  void Reset(std::size_t device_bytes);

  std::size_t device_bytes() const { return device_bytes_; }
  std::size_t device_used() const { return device_used_; }

  // Null when the pool has no room.
  void* AllocateDevice(std::size_t bytes);
  bool FreeDevice(void* pointer);

  void* AllocateHost(std::size_t bytes);
  bool FreeHost(void* pointer);

  cudaError_t Register(void* pointer, std::size_t bytes, unsigned flags);
  cudaError_t Unregister(void* pointer);

  // Where all of the range lies; kInvalid: in the device's pool, but not in one live allocation, or
  // partly in a pinned range and partly not.
  Place Find(const void* pointer, std::size_t bytes) const;
  // Whether a kernel may be given this pointer (one past an end is fine).
  bool DeviceSees(const void* pointer) const;
  // The device's pointer for a place in pinned memory that is mapped; else null.
  void* Mapped(void* pointer) const;

  void Open();
  void Close();

 private:
  struct HostRange {
    std::size_t bytes;
    bool allocated;
    bool mapped;
  };

  void Clear();
  void EnsurePool();
  const std::pair<const std::uintptr_t, HostRange>* HostRangeOf(std::uintptr_t at) const;
  bool InPool(std::uintptr_t at) const;

  char* pool_ = nullptr;
  std::size_t pool_bytes_ = 0;  // of the mapping
  std::size_t device_bytes_ = 0;
  std::size_t device_used_ = 0;
  int open_ = 0;
  std::map<std::uintptr_t, std::size_t> device_;  // what was asked for
  std::map<std::uintptr_t, HostRange> host_;
};

}  // namespace millrace::simt
