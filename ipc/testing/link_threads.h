// Both ends of a link as two threads on one mapping, so that ThreadSanitizer relates them.
//
// Purpose: the link's own code with real threads, blocks and eventfds; what arrives is checked to
//   the byte. Who may call: tests. Model: Hardware, or one with a mistake.
// Invariants:
//   1. What orders the threads is the link alone: the eventfds are used through functions that
//      TSan does not know, and TSan does not know fences. The parking words are atomics, so that
//      it has nothing to say of them.
// What fails: the process, at the first thing that is wrong.
#pragma once

#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>

#include <atomic>
#include <memory>
#include <random>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/check.h"
#include "ipc/link_shm.h"
#include "ipc/waiter.h"

namespace millrace {

// What happened; to be looked at once both threads have ended.
struct ThreadsDone {
  uint64_t inlined = 0;
  uint64_t blocks = 0;
  uint64_t consumer_slept = 0;
  uint64_t producer_slept = 0;
};

template <typename M>
class LinkThreads {
 public:
  ThreadsDone Run(uint64_t messages, uint64_t seed) {
    messages_ = messages;
    std::thread producer([this, seed] { Produce(seed); });
    std::thread consumer([this, seed] { Consume(~seed); });
    producer.join();
    consumer.join();
    return done_;
  }

 private:
  using Word = typename M::template Word<uint64_t>;
  static constexpr uint64_t kSlots = 16;
  static constexpr uint32_t kBlockBytes = 256;
  // The producer sends so many and then waits until the consumer is about to sleep.
  static constexpr uint64_t kBurst = 100;
  // A sleep this long with something to do is a wake-up that was lost.
  static constexpr int kLostMs = 20'000;

  // The words stand as in the regions.
  struct Memory {
    alignas(128) LinkSlot<M> ring[kSlots] = {};
    alignas(128) Word taken{0};
    alignas(128) Word returns[kSlots] = {};
    alignas(128) std::atomic<uint64_t> consumer_parked{0};
    alignas(128) std::atomic<uint64_t> producer_parked{0};
    alignas(128) uint8_t blocks[kSlots][kBlockBytes] = {};
  };
  struct Held {
    uint64_t n;
    BlockRef block;
  };

  static uint8_t ByteOf(uint64_t n, uint32_t i) { return static_cast<uint8_t>(n * 31 + i * 7 + 1); }
  static void Fill(uint8_t* bytes, uint32_t length, uint64_t n) {
    for (uint32_t i = 0; i < length; ++i) bytes[i] = ByteOf(n, i);
  }
  static void CheckBytes(const uint8_t* bytes, uint32_t length, uint64_t n) {
    for (uint32_t i = 0; i < length; ++i)
      MR_CHECK(bytes[i] == ByteOf(n, i), "a payload is what was sent, as long as it is held");
  }

  // Sleeps until `look` sees something, as a lane does. Returns how often it slept.
  template <typename Look>
  static uint64_t Await(Waiter* waiter, Look look) {
    uint64_t slept = 0;
    while (!look()) {
      waiter->Arm();
      if (!look()) {
        slept += 1;
        MR_CHECK(waiter->Sleep(kLostMs) || !look(), "no wake-up is lost");
      }
      waiter->Unpark();
    }
    return slept;
  }

  void Produce(uint64_t seed) {
    std::mt19937_64 random(seed);
    ProducerEnd<M> end(memory_->ring, &memory_->taken, memory_->returns, kSlots);
    Waiter waiter(&memory_->producer_parked, producer_fd_.Duplicate());
    Waker waker(&memory_->consumer_parked, consumer_fd_.Duplicate());
    std::vector<uint32_t> free;
    for (uint32_t i = 0; i < kSlots; ++i) free.push_back(i * kBlockBytes);
    const auto collect = [&] {
      MR_CHECK(end.CollectReturns(&free) != LinkResult::kFault, "an honest consumer");
      return end.CanSubmit() && !free.empty();
    };
    for (uint64_t n = 0; n < messages_; ++n) {
      done_.producer_slept += Await(&waiter, collect);
      Message message;
      message.id = n;
      if (random() % 3 == 0) {
        message.kind = MessageKind::kInline;
        message.code = static_cast<uint8_t>(random() % (kInlineBytes + 1));
        Fill(reinterpret_cast<uint8_t*>(message.payload), message.code, n);
      } else {
        message.block = {free.back(), static_cast<uint32_t>(1 + random() % kBlockBytes)};
        free.pop_back();
        Fill(memory_->blocks[message.block.offset / kBlockBytes], message.block.length, n);
      }
      end.Submit(message);
      if (random() % 4 != 0 || n + 1 == messages_ || free.empty() || !end.CanSubmit()) waker.Wake();
      if (n % kBurst != 0) continue;
      waker.Wake();
      // relaxed: only to let it fall asleep; nothing is read for it.
      while ((memory_->consumer_parked.load(std::memory_order_relaxed) & 1) == 0)
        std::this_thread::yield();
    }
    const auto all_back = [&] { return collect(), end.lent() == 0 && end.depth() == 0; };
    done_.producer_slept += Await(&waiter, all_back);
    MR_CHECK(free.size() == kSlots, "each block comes back once");
  }

  void Consume(uint64_t seed) {
    std::mt19937_64 random(seed);
    ConsumerEnd<M> end(memory_->ring, &memory_->taken, memory_->returns, kSlots);
    Waiter waiter(&memory_->consumer_parked, consumer_fd_.Duplicate());
    Waker waker(&memory_->producer_parked, producer_fd_.Duplicate());
    std::vector<Held> held;
    for (uint64_t n = 0; n < messages_;) {
      Message message;
      const LinkResult result = end.Take(&message);
      MR_CHECK(result != LinkResult::kFault, "an honest producer");
      if (result == LinkResult::kOk) {
        MR_CHECK(message.id == n, "messages come once and in order");
        Receive(message, n++, &held);
      }
      // Now and then everything is held until nothing more comes.
      const bool empty = result == LinkResult::kEmpty;
      if (!empty && (n / kSlots % 2 == 0 || random() % 2 == 0) && n < messages_) continue;
      while (!held.empty() && (empty || n == messages_ || random() % 4 != 0))
        ReturnOne(&end, random() % held.size(), &held);
      end.PublishCredits();
      waker.Wake();
      if (empty) done_.consumer_slept += Await(&waiter, [&] { return end.HasNext(); });
    }
    while (!held.empty()) ReturnOne(&end, random() % held.size(), &held);
    end.PublishCredits();
    waker.Wake();
    memory_->consumer_parked.store(1);  // the producer waits for no more sleeps
  }

  void Receive(const Message& message, uint64_t n, std::vector<Held>* held) {
    if (!message.HasBlock()) {
      done_.inlined += 1;
      return CheckBytes(reinterpret_cast<const uint8_t*>(message.payload), message.code, n);
    }
    done_.blocks += 1;
    CheckBytes(memory_->blocks[message.block.offset / kBlockBytes], message.block.length, n);
    held->push_back({n, message.block});
  }

  void ReturnOne(ConsumerEnd<M>* end, size_t which, std::vector<Held>* held) {
    const Held one = (*held)[which];
    held->erase(held->begin() + static_cast<ptrdiff_t>(which));
    CheckBytes(memory_->blocks[one.block.offset / kBlockBytes], one.block.length, one.n);
    end->Return(one.block.offset);
  }

  uint64_t messages_ = 0;
  std::unique_ptr<Memory> memory_ = std::make_unique<Memory>();
  Fd producer_fd_{eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
  Fd consumer_fd_{eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
  ThreadsDone done_;  // each field has one writer
};

// A model whose words of type Weak forget to release: uint32_t the sequence in a slot, uint64_t
// returns and credits.
template <typename Weak>
struct Unreleased : Hardware {
  template <typename T>
  struct Relaxed : std::atomic<T> {
    using std::atomic<T>::atomic;
    void store(T value, std::memory_order) {
      // relaxed: the mistake that is to be found.
      std::atomic<T>::store(value, std::memory_order_relaxed);
    }
  };
  template <typename T>
  using Word = std::conditional_t<std::is_same_v<T, Weak>, Relaxed<T>, std::atomic<T>>;
};

}  // namespace millrace
