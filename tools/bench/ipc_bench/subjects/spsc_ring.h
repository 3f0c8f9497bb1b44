// Subject `spsc_ring`: the best known ring for one producer and one consumer, as a library has it.
//
// Purpose: a model of rigtorp's SPSCQueue in shared memory: indices on lines of their own, each
// side
//   keeps a copy of the other's index and reads the real one only when the copy says full or empty;
//   a payload is copied in, and read in place in the slot before it is popped.
// Who may call: the two processes of a run (pair.h). Invariants: 1. `tail` has one writer, the
//   producer, and `head` one, the consumer; both only grow. Nothing fails.
#pragma once

#include <string.h>

#include <algorithm>
#include <vector>

#include "tools/bench/ipc_bench/pair.h"
#include "tools/bench/ipc_bench/touch.h"

namespace millrace::bench {

// How many messages a copying subject may hold: as many as a few MiB take, 4 to 64.
inline size_t WindowOf(size_t bytes) {
  constexpr size_t kWindowBytes = 2 << 20;
  return std::clamp<size_t>(kWindowBytes / bytes, 4, 64);
}

class SpscRing {
 public:
  struct Ring {
    alignas(128) std::atomic<uint64_t> tail;
    alignas(128) std::atomic<uint64_t> head;
    alignas(128) std::byte slots[128];  // and on
  };
  static size_t StrideOf(size_t bytes) { return (bytes + 63) / 64 * 64; }
  static size_t RingBytes(size_t bytes) {
    return sizeof(Ring) + (WindowOf(bytes) * StrideOf(bytes) + 127) / 128 * 128;
  }

  static const char* Refusal(size_t) { return nullptr; }

  struct Shared {
    explicit Shared(size_t bytes) : area(2 * RingBytes(bytes)) {}
    SharedArea area;
  };

  class End {
   public:
    End(Shared& shared, Side side, size_t bytes)
        : bytes_(bytes), stride_(StrideOf(bytes)), slots_(WindowOf(bytes)), buffer_(bytes) {
      const size_t mine = side == Side::kA ? 0 : RingBytes(bytes);
      out_ = shared.area.as<Ring>(mine);
      in_ = shared.area.as<Ring>(RingBytes(bytes) - mine);
    }

    void Send(uint64_t stamp) {
      FillBytes(buffer_.data(), bytes_, stamp);
      while (tail_ - known_head_ == slots_) {
        // acquire: meets the release in Receive; the slot was read.
        known_head_ = out_->head.load(std::memory_order_acquire);
        if (tail_ - known_head_ == slots_) Pause();
      }
      memcpy(out_->slots + out_at_ * stride_, buffer_.data(), bytes_);
      if (++out_at_ == slots_) out_at_ = 0;
      // release: meets the acquire in Receive; publishes the slot.
      out_->tail.store(++tail_, std::memory_order_release);
    }

    bool Receive(uint64_t stamp) {
      while (head_ == known_tail_) {
        // acquire: meets the release in Send.
        known_tail_ = in_->tail.load(std::memory_order_acquire);
        if (head_ == known_tail_) Pause();
      }
      const bool right = CheckBytes(in_->slots + in_at_ * stride_, bytes_, stamp);
      if (++in_at_ == slots_) in_at_ = 0;
      // release: meets the acquire in Send.
      in_->head.store(++head_, std::memory_order_release);
      return right;
    }

   private:
    size_t bytes_, stride_, slots_;
    std::vector<std::byte> buffer_;
    Ring *out_, *in_;
    uint64_t tail_ = 0, known_head_ = 0, out_at_ = 0;
    uint64_t head_ = 0, known_tail_ = 0, in_at_ = 0;
  };
};

}  // namespace millrace::bench
