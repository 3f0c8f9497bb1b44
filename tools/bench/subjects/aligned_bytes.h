// Memory for kernels and plans: aligned to a cache line, not initialised.
//
// Purpose: what execution has from its maps, for a bench without them. Ownership: frees itself.
// Fails never: without memory there is no bench.
#pragma once

#include <stddef.h>

#include <cstddef>
#include <cstdlib>
#include <memory>

namespace millrace::bench {

class AlignedBytes {
 public:
  AlignedBytes() = default;
  explicit AlignedBytes(size_t bytes)
      : data_(static_cast<std::byte*>(std::aligned_alloc(64, (bytes / 64 + 1) * 64))),
        bytes_(bytes) {}
  std::byte* data() const { return data_.get(); }
  size_t size() const { return bytes_; }

 private:
  struct Free {
    void operator()(std::byte* data) const { std::free(data); }
  };
  std::unique_ptr<std::byte, Free> data_;
  size_t bytes_ = 0;
};

}  // namespace millrace::bench
