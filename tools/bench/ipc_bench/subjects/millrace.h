// Subject `millrace`: our link, in zero copy, as a lane uses it.
//
// Purpose: blocks of the arena are written in place, submitted, waked for (the fence; nobody parks
//   here), read in place and returned; credits are published at the end of a turn. Up to 32 bytes
//   travel in the message itself. Waiting is SPIN: one pause between polls.
// Who may call: the two processes of a run (pair.h). Ownership: each process makes its own regions
//   and hands their descriptors to the other, as processes of the server do.
// Invariants: 1. at most `hot_blocks` blocks are out; returns are looked for only then.
// What fails: a fault of the link or a refused region ends the process with a sentence.
#pragma once

#include <stddef.h>

#include <vector>

#include "ipc/arena.h"
#include "ipc/fd.h"
#include "ipc/link.h"
#include "ipc/page.h"
#include "ipc/waiter.h"
#include "tools/bench/ipc_bench/pair.h"
#include "tools/bench/ipc_bench/touch.h"

namespace millrace::bench {

// Blocks in turn that suit a size, found by trial.
size_t BestHotBlocks(size_t bytes);

class Millrace {
 public:
  static const char* Refusal(size_t) { return nullptr; }

  // Blocks in turn; 0: what was found best for the size.
  static size_t hot_blocks;

  struct Shared {
    explicit Shared(size_t bytes);
    Fd sockets[2];
  };

  class End {
   public:
    End(Shared& shared, Side side, size_t bytes);

    void Send(uint64_t stamp) {
      Message message;
      if (bytes_ <= kInlineBytes) {
        message.kind = MessageKind::kInline;
        message.code = static_cast<uint8_t>(bytes_);
        FillBytes(message.payload, bytes_, stamp);
      } else {
        while (out_.lent() >= hot_blocks_) Collect();
        message.block = *arena_.Allocate(bytes_);
        FillBytes(arena_.At(message.block.offset), bytes_, stamp);
      }
      while (!out_.CanSubmit()) Collect();
      out_.Submit(message);
      waker_.Wake();
    }

    bool Receive(uint64_t stamp) {
      Message message;
      while (true) {
        const LinkResult result = in_.Take(&message);
        if (result == LinkResult::kOk) break;
        if (result == LinkResult::kFault) Broken();
        Pause();
      }
      const bool right =
          bytes_ <= kInlineBytes ? CheckInline(message, stamp) : CheckBlock(message, stamp);
      // The end of a turn: nothing more is there, or it took as many as a turn may.
      if (++turn_ == kDrain || !in_.HasNext()) {
        in_.PublishCredits();
        turn_ = 0;
      }
      return right;
    }

   private:
    static constexpr size_t kDrain = 64;

    [[noreturn]] static void Broken();

    void Collect() {
      returned_.clear();
      const LinkResult result = out_.CollectReturns(&returned_);
      if (result == LinkResult::kFault) Broken();
      for (const uint32_t offset : returned_) arena_.Release(offset);
      if (result == LinkResult::kEmpty) Pause();  // credits alone: looked at again by the caller
    }

    bool CheckBlock(const Message& message, uint64_t stamp) {
      if (message.kind != MessageKind::kData) return false;
      const auto bytes = peer_arena_.Get(message.block);
      if (!bytes.has_value() || bytes->size() != bytes_) return false;
      const bool right = CheckBytes(bytes->data(), bytes_, stamp);
      in_.Return(message.block.offset);
      return right;
    }

    bool CheckInline(const Message& message, uint64_t stamp) const {
      return message.kind == MessageKind::kInline && message.code == bytes_ &&
             CheckBytes(message.payload, bytes_, stamp);
    }

    size_t bytes_;
    size_t hot_blocks_;
    size_t turn_ = 0;
    Arena arena_;
    Region page_;
    Fd eventfd_;
    LinkProducer out_;
    LinkConsumer in_;
    ArenaView peer_arena_;
    Region peer_page_;
    Waker waker_;
    std::vector<uint32_t> returned_;
  };
};

}  // namespace millrace::bench
