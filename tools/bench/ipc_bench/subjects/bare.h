// Subject `bare`: no transport at all, the least that any could cost at a size.
//
// Purpose: the physical floor of a message of that size: bytes written in place into one of a few
//   blocks, a word behind them that says so, read in place. As many blocks in turn as `millrace`
//   has; in streaming the reader tells how far it is, once in a quarter of them.
// Who may call: the two processes of a run (pair.h). Invariants: 1. each word has one writer.
// Not a transport: no bounds, no checks, nobody is woken, no death is survived. Nothing fails.
#pragma once

#include <algorithm>

#include "tools/bench/ipc_bench/pair.h"
#include "tools/bench/ipc_bench/subjects/millrace.h"
#include "tools/bench/ipc_bench/touch.h"

namespace millrace::bench {

class Bare {
 public:
  struct Half {  // of one direction; `done` is the reader's
    alignas(128) std::atomic<uint64_t> done;
    alignas(128) std::byte blocks[128];  // and on
  };
  // A small payload shares its word's line.
  static size_t StrideOf(size_t bytes) { return (bytes + sizeof(uint64_t) + 63) / 64 * 64; }
  static size_t BlocksOf(size_t bytes) { return BestHotBlocks(bytes); }
  static size_t HalfBytes(size_t bytes) {
    return sizeof(Half) + (BlocksOf(bytes) * StrideOf(bytes) + 127) / 128 * 128;
  }

  static const char* Refusal(size_t) { return nullptr; }

  struct Shared {
    explicit Shared(size_t bytes) : area(2 * HalfBytes(bytes)) {}
    SharedArea area;
  };

  class End {
   public:
    End(Shared& shared, Side side, size_t bytes)
        : bytes_(bytes), stride_(StrideOf(bytes)), blocks_(BlocksOf(bytes)) {
      const size_t mine = side == Side::kA ? 0 : HalfBytes(bytes);
      out_ = shared.area.as<Half>(mine);
      in_ = shared.area.as<Half>(HalfBytes(bytes) - mine);
    }

    void Send(uint64_t stamp) {
      while (sent_ - known_done_ == blocks_) {
        // acquire: meets the release in Receive; the block was read.
        known_done_ = out_->done.load(std::memory_order_acquire);
        if (sent_ - known_done_ == blocks_) Pause();
      }
      std::byte* block = out_->blocks + sent_ % blocks_ * stride_;
      FillBytes(block, bytes_, stamp);
      // release: meets the acquire in Receive; publishes the bytes.
      WordOf(block)->store(++sent_, std::memory_order_release);
    }

    bool Receive(uint64_t stamp) {
      std::byte* block = in_->blocks + received_ % blocks_ * stride_;
      // acquire: meets the release in Send.
      while (WordOf(block)->load(std::memory_order_acquire) != received_ + 1) Pause();
      const bool right = CheckBytes(block, bytes_, stamp);
      if (++received_ % (blocks_ / 4) == 0) {
        // release: meets the acquire in Send.
        in_->done.store(received_, std::memory_order_release);
      }
      return right;
    }

   private:
    // The last word of a block.
    std::atomic<uint64_t>* WordOf(std::byte* block) const {
      return reinterpret_cast<std::atomic<uint64_t>*>(block + stride_ - sizeof(uint64_t));
    }

    size_t bytes_, stride_, blocks_;
    Half *out_, *in_;
    uint64_t sent_ = 0, known_done_ = 0, received_ = 0;
  };
};

}  // namespace millrace::bench
