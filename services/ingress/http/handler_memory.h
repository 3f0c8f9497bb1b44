// Memory for one pending operation of the event loop, used again for the next.
//
// Purpose: Asio keeps a pending operation and its handler in memory of the handler's choice; a
//   connection has a read and a write pending at most, so each gets a place that is always there.
// Who may call: the loop's thread. Ownership: a HandlerMemory outlives what is pending in it: the
//   handler holds whatever holds it, and Asio gives the memory back before it runs or drops the
//   handler. Invariants: 1. what finds the place taken, or is too large for it, comes from the
//   heap.
// What fails: an allocation without memory, with std::bad_alloc.
#pragma once

#include <stddef.h>

#include <cstddef>
#include <new>
#include <utility>

namespace millrace::http {

class HandlerMemory {
 public:
  HandlerMemory() = default;
  HandlerMemory(const HandlerMemory&) = delete;
  HandlerMemory& operator=(const HandlerMemory&) = delete;

  void* Take(size_t bytes) {
    if (taken_ || bytes > sizeof place_) return ::operator new(bytes);
    taken_ = true;
    return place_;
  }
  void Give(void* memory) {
    if (memory != place_) return ::operator delete(memory);
    taken_ = false;
  }

 private:
  static constexpr size_t kBytes = 1 << 10;

  bool taken_ = false;
  alignas(std::max_align_t) std::byte place_[kBytes];
};

// A handler whose operations lie in `memory`.
template <typename Handler>
class InMemory {
 public:
  template <typename T>
  struct Allocator {
    using value_type = T;
    explicit Allocator(HandlerMemory* place) : memory(place) {}
    template <typename U>
    Allocator(const Allocator<U>& other) : memory(other.memory) {}  // NOLINT: as allocators do
    T* allocate(size_t count) { return static_cast<T*>(memory->Take(count * sizeof(T))); }
    void deallocate(T* at, size_t) { memory->Give(at); }
    bool operator==(const Allocator& other) const { return memory == other.memory; }

    HandlerMemory* memory;
  };
  using allocator_type = Allocator<std::byte>;

  InMemory(HandlerMemory* memory, Handler handler)
      : memory_(memory), handler_(std::move(handler)) {}

  allocator_type get_allocator() const noexcept { return allocator_type(memory_); }

  template <typename... Arguments>
  void operator()(Arguments&&... arguments) {
    handler_(std::forward<Arguments>(arguments)...);
  }

 private:
  HandlerMemory* memory_;
  Handler handler_;
};

}  // namespace millrace::http
